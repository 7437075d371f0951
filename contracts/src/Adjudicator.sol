// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAdjudicator} from "./interfaces/IAdjudicator.sol";
import {ChannelSlot, ChannelSlotLibrary} from "./libraries/ChannelSlot.sol";
import {Contributions, ContributionsLibrary} from "./libraries/Contributions.sol";
import {Errors} from "./libraries/Errors.sol";
import {Events} from "./libraries/Events.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {MarginCalls} from "./libraries/MarginCalls.sol";
import {Payoff} from "./libraries/Payoff.sol";
import {ReentrancyLock} from "./libraries/ReentrancyLock.sol";
import {RiskEngineCalls} from "./libraries/RiskEngineCalls.sol";
import {Settlement} from "./libraries/Settlement.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {TermsBounds} from "./libraries/TermsBounds.sol";
import {Tokens} from "./libraries/Tokens.sol";
import {
    ChannelView,
    Closing,
    DisputeAuthorisation,
    Party,
    Permit,
    Phase,
    Portfolio,
    Signature,
    SignedState,
    Spot,
    State,
    Terms,
    Withdrawal
} from "./libraries/Types.sol";
import {IRiskEngine} from "./risk/IRiskEngine.sol";
import {RiskParams, Scenario} from "./risk/RiskTypes.sol";

/// @title Adjudicator: holds the collateral of every channel and pays it by the newest state both signed.
/// @notice What each call does is documented in `IAdjudicator`; comments here say why.
contract Adjudicator is IAdjudicator, ReentrancyLock {
    /// @notice How far ahead the `validUntil` of a Closing or a Withdrawal may lie.
    uint256 internal constant MAX_VALIDITY = 1 hours;

    /// @dev Three words a channel. `portfolioHash` stays 0 while the nonce is 0.
    struct Channel {
        ChannelSlot slot;
        bytes32 portfolioHash;
        Contributions contributions;
    }

    /// @inheritdoc IAdjudicator
    IRiskEngine public immutable riskEngine;

    /// @inheritdoc IAdjudicator
    uint256 public immutable deploymentChainId = block.chainid;

    bytes32 private immutable _separatorAtDeployment = _computeSeparator();

    /// @inheritdoc IAdjudicator
    uint256 public disputeCount;

    /// @inheritdoc IAdjudicator
    mapping(address token => mapping(address payee => uint256 amount)) public claimable;

    mapping(bytes32 id => Channel) private _channels;

    constructor(IRiskEngine riskEngine_) {
        if (address(riskEngine_).code.length == 0) revert Errors.NoRiskEngine(address(riskEngine_));
        riskEngine = riskEngine_;
    }

    // ---- opening and funding

    /// @inheritdoc IAdjudicator
    function open(
        Terms calldata terms,
        uint128 depositA,
        uint128 depositB,
        uint64 validUntil,
        bytes calldata signatureA,
        bytes calldata signatureB
    ) external locks returns (bytes32 id) {
        id = _open(terms, depositA, depositB, validUntil, signatureA, signatureB);
        _pullDeposits(terms, depositA, depositB);
    }

    /// @inheritdoc IAdjudicator
    function openWithPermit(
        Terms calldata terms,
        uint128 depositA,
        uint128 depositB,
        uint64 validUntil,
        bytes calldata signatureA,
        bytes calldata signatureB,
        Permit calldata permitA,
        Permit calldata permitB
    ) external locks returns (bytes32 id) {
        id = _open(terms, depositA, depositB, validUntil, signatureA, signatureB);
        Tokens.tryPermit(terms.collateral, terms.partyA, permitA);
        Tokens.tryPermit(terms.collateral, terms.partyB, permitB);
        _pullDeposits(terms, depositA, depositB);
    }

    /// @inheritdoc IAdjudicator
    function deposit(Terms calldata terms, Party party, uint128 amount) external locks {
        if (party == Party.None) revert Errors.InvalidParty();
        if (amount == 0) revert Errors.ZeroAmount();
        bytes32 id = channelId(terms);
        Channel storage channel_ = _channels[id];
        ChannelSlot slot = channel_.slot;
        if (slot.phase() == Phase.None || slot.phase() == Phase.Closed) revert Errors.WrongPhase(slot.phase());
        uint256 cureEnd = slot.cureEnd(party);
        if (Settlement.callUndecided(slot, party, terms.settlementGrace) && block.timestamp >= cureEnd) {
            revert Errors.CureEnded(cureEnd);
        }

        channel_.contributions = channel_.contributions.add(party, amount);
        emit Events.Deposited(id, party, amount);

        uint256 before = Tokens.balance(terms.collateral);
        Tokens.pull(terms.collateral, msg.sender, amount);
        _requireArrived(terms.collateral, before, amount);
    }

    // ---- the newest state

    /// @inheritdoc IAdjudicator
    function checkpoint(
        address signerA,
        address signerB,
        bytes32 termsHash,
        uint64 nonce,
        uint64 validUntil,
        bytes32 portfolioHash,
        bytes32 rA,
        bytes32 vsA,
        bytes32 rB,
        bytes32 vsB
    ) external whenUnlocked returns (bool) {
        bytes32 id = _id(signerA, signerB, termsHash);
        Channel storage channel_ = _channels[id];
        ChannelSlot slot = channel_.slot;
        if (!_recordable(slot, nonce, validUntil)) return false;

        bytes32 digest = _digest(Hashing.hashState(id, nonce, validUntil, portfolioHash));
        Signatures.requireSigner(signerA, digest, rA, vsA);
        Signatures.requireSigner(signerB, digest, rB, vsB);
        _record(id, channel_, slot, nonce, portfolioHash);
        return true;
    }

    /// @inheritdoc IAdjudicator
    function checkpointMany(SignedState[] calldata states) external whenUnlocked returns (uint256 recorded) {
        for (uint256 i; i < states.length; ++i) {
            SignedState calldata state = states[i];
            bytes32 id = _id(state.signerA, state.signerB, state.termsHash);
            Channel storage channel_ = _channels[id];
            ChannelSlot slot = channel_.slot;
            if (!_recordable(slot, state.nonce, state.validUntil)) continue;

            bytes32 digest = _digest(Hashing.hashState(id, state.nonce, state.validUntil, state.portfolioHash));
            if (!Signatures.isFrom(state.signerA, digest, state.signatureA)) continue;
            if (!Signatures.isFrom(state.signerB, digest, state.signatureB)) continue;
            _record(id, channel_, slot, state.nonce, state.portfolioHash);
            ++recorded;
        }
    }

    /// @inheritdoc IAdjudicator
    function withdraw(
        Terms calldata terms,
        Withdrawal calldata withdrawal,
        Signature calldata signatureA,
        Signature calldata signatureB
    ) external locks {
        bytes32 id = channelId(terms);
        Channel storage channel_ = _channels[id];
        ChannelSlot slot = channel_.slot;
        Phase phase = slot.phaseAt(block.timestamp);
        if (phase != Phase.Open) revert Errors.WrongPhase(phase);
        State calldata state = withdrawal.state;
        if (state.channelId != id) revert Errors.WrongChannel(id, state.channelId);
        if (state.nonce <= slot.nonce()) revert Errors.NonceNotNewer(slot.nonce(), state.nonce);
        _requireShortLived(state.validUntil);
        Contributions contributions = channel_.contributions;
        (uint128 amountA, uint128 amountB) = (withdrawal.amountA, withdrawal.amountB);
        (uint256 cashA, uint256 cashB) = contributions.cash(state.portfolio.netToB);
        if (amountA > cashA) revert Errors.AmountAboveCash(Party.A, amountA, cashA);
        if (amountB > cashB) revert Errors.AmountAboveCash(Party.B, amountB, cashB);

        bytes32 portfolioHash = Hashing.hash(state.portfolio);
        bytes32 stateHash = Hashing.hashState(id, state.nonce, state.validUntil, portfolioHash);
        bytes32 digest = _digest(Hashing.hashWithdrawal(stateHash, amountA, amountB));
        Signatures.requireSigner(terms.signerA, digest, signatureA);
        Signatures.requireSigner(terms.signerB, digest, signatureB);

        _record(id, channel_, slot, state.nonce, portfolioHash);
        channel_.contributions = contributions.sub(amountA, amountB);
        emit Events.Withdrawn(id, amountA, amountB);
        _push(terms.collateral, terms.partyA, amountA);
        _push(terms.collateral, terms.partyB, amountB);
    }

    /// @inheritdoc IAdjudicator
    function dispute(Terms calldata terms) external whenUnlocked {
        (bytes32 id, Channel storage channel_, ChannelSlot slot) = _disputable(terms);
        Party filer = _sideOfCaller(terms);
        if (slot.phase() == Phase.Open) _file(id, channel_, slot, filer, terms.disputeWindow);
    }

    /// @inheritdoc IAdjudicator
    function dispute(
        Terms calldata terms,
        State calldata state,
        Signature calldata signatureA,
        Signature calldata signatureB
    ) external whenUnlocked returns (bool recorded) {
        (bytes32 id, Channel storage channel_, ChannelSlot slot) = _disputable(terms);
        return _dispute(id, channel_, slot, _sideOfCaller(terms), terms, state, signatureA, signatureB);
    }

    /// @inheritdoc IAdjudicator
    function disputeFor(
        Terms calldata terms,
        State calldata state,
        Signature calldata signatureA,
        Signature calldata signatureB,
        DisputeAuthorisation calldata authorisation,
        Signature calldata signature
    ) external whenUnlocked returns (bool recorded) {
        (bytes32 id, Channel storage channel_, ChannelSlot slot) = _disputable(terms);
        Party filer = _sideOfAuthoriser(id, terms, authorisation, signature);
        recorded = _dispute(id, channel_, slot, filer, terms, state, signatureA, signatureB);
        // What now stands is what was filed on: the newer of the recorded and the given nonce.
        uint256 nonce = channel_.slot.nonce();
        if (nonce < authorisation.minNonce) revert Errors.NonceBelowMinimum(authorisation.minNonce, nonce);
    }

    // ---- margin

    /// @inheritdoc IAdjudicator
    function callMargin(
        Terms calldata terms,
        RiskParams[] calldata risk,
        Portfolio calldata portfolio,
        Party party,
        Scenario[] calldata scenarios
    ) external whenUnlocked returns (uint32 cureEnd) {
        if (party == Party.None) revert Errors.InvalidParty();
        bytes32 id = channelId(terms);
        Channel storage channel_ = _channels[id];
        ChannelSlot slot = channel_.slot;
        Phase phase = slot.phaseAt(block.timestamp);
        if (phase != Phase.Disputed && phase != Phase.RunOff) revert Errors.WrongPhase(phase);
        MarginCalls.requireCallable(slot, party, terms.settlementGrace, terms.cureWindow);
        MarginCalls.requireFreshMarks(slot, terms, portfolio.markedAt);
        MarginCalls.requireAgreed(terms, risk);

        int256 netToB = Settlement.netAsOf(terms, portfolio, _recorded(channel_, slot), block.timestamp);
        RiskEngineCalls.Query memory query = _query(terms, block.timestamp, MarginCalls.spots(terms, portfolio));
        (int256 equity, uint256 maintenance) =
            _requireShort(query, portfolio, risk, scenarios, party, channel_.contributions.unclampedCash(party, netToB));
        cureEnd = MarginCalls.cureEnd(terms.cureWindow);
        channel_.slot = slot.called(party, cureEnd);
        emit Events.MarginCalled(id, party, cureEnd, equity, maintenance);
    }

    /// @inheritdoc IAdjudicator
    function closeOut(
        Terms calldata terms,
        RiskParams[] calldata risk,
        Portfolio calldata portfolio,
        Party party,
        Scenario[] calldata scenarios
    ) external locks {
        if (party == Party.None) revert Errors.InvalidParty();
        bytes32 id = channelId(terms);
        Channel storage channel_ = _channels[id];
        ChannelSlot slot = channel_.slot;
        _requireRunOff(slot);
        MarginCalls.requireDecidable(slot, party, terms.settlementGrace);
        MarginCalls.requireAgreed(terms, risk);

        uint256 time = slot.cureEnd(party);
        int256 netToB = Settlement.netAsOf(terms, portfolio, _recorded(channel_, slot), time);
        RiskEngineCalls.Query memory query = _query(terms, time, MarginCalls.pricesAt(terms, portfolio, time));
        Contributions contributions = channel_.contributions;
        _requireShort(query, portfolio, risk, scenarios, party, contributions.unclampedCash(party, netToB));
        bool both = MarginCalls.together(slot, terms.cureWindow);
        int256 value = RiskEngineCalls.closeOutValue(query, portfolio, risk, both ? int256(0) : _side(party));

        (uint256 cashA, uint256 cashB) = contributions.cash(Payoff.moveNet(netToB, value));
        uint256 penalty;
        if (!both) {
            uint256 margin = party == Party.A ? portfolio.marginA : portfolio.marginB;
            penalty = margin * terms.defaultPenaltyBps / MarginCalls.BPS;
            (penalty, cashA, cashB) = _penalised(party, penalty, cashA, cashB);
        }
        emit Events.ClosedOut(id, party, value, penalty);
        _payOut(id, channel_, slot, terms, cashA, cashB);
    }

    /// @inheritdoc IAdjudicator
    function release(Terms calldata terms, RiskParams[] calldata risk, Portfolio calldata portfolio)
        external
        locks
        returns (uint256 amount)
    {
        Party party;
        if (msg.sender == terms.partyA) party = Party.A;
        else if (msg.sender == terms.partyB) party = Party.B;
        else revert Errors.NotAParty(msg.sender);
        bytes32 id = channelId(terms);
        Channel storage channel_ = _channels[id];
        ChannelSlot slot = channel_.slot;
        _requireRunOff(slot);
        if (slot.released(party)) revert Errors.AlreadyReleased(party);
        if (Settlement.callUndecided(slot, party, terms.settlementGrace)) {
            revert Errors.CallUndecided(party, slot.cureEnd(party));
        }
        MarginCalls.requireAgreed(terms, risk);

        // Settled first, so that what is paid rests on prices that stand: one that the oracle told later, or the decision of
        // the other's call, could change the outcome of what has expired (rules 7 and 8).
        Settlement.requireSettled(portfolio, _recorded(channel_, slot));
        RiskEngineCalls.Query memory query = _query(terms, block.timestamp, MarginCalls.spots(terms, portfolio));
        uint256 locked = RiskEngineCalls.runOffLock(query, portfolio, risk, _side(party));
        if (_filedStale(slot, terms) && slot.filer() == party) locked += terms.stalePenalty;
        Contributions contributions = channel_.contributions;
        (uint256 cashA, uint256 cashB) = contributions.cash(portfolio.netToB);
        amount = party == Party.A ? cashA : cashB;
        if (amount <= locked) revert Errors.NothingToRelease(amount, locked);
        amount -= locked;

        channel_.slot = slot.afterRelease(party);
        channel_.contributions = party == Party.A ? contributions.sub(amount, 0) : contributions.sub(0, amount);
        emit Events.Released(id, party, amount);
        _push(terms.collateral, msg.sender, amount);
    }

    // ---- the end

    /// @inheritdoc IAdjudicator
    function settle(Terms calldata terms, Portfolio calldata portfolio) external locks returns (uint256 settled) {
        bytes32 id = channelId(terms);
        Channel storage channel_ = _channels[id];
        ChannelSlot slot = channel_.slot;
        _requireRunOff(slot);

        Settlement.Result memory result = Settlement.run(
            terms, portfolio, _recorded(channel_, slot), Settlement.horizon(slot, terms.settlementGrace)
        );
        settled = result.settled;
        if (settled == portfolio.positions.length) {
            (uint256 cashA, uint256 cashB) = channel_.contributions.cash(result.netToB);
            _payOut(id, channel_, slot, terms, cashA, cashB);
        } else if (settled != 0) {
            channel_.slot = slot.afterSettle();
            channel_.portfolioHash = Settlement.remainingHash(portfolio, result);
            emit Events.Settled(id, Settlement.remaining(portfolio, result));
        } else if (!slot.settled()) {
            // Nothing expired yet, but somebody has the portfolio: `abandon` is out of the question from here on.
            channel_.slot = slot.afterSettle();
        }
    }

    /// @inheritdoc IAdjudicator
    function close(
        Terms calldata terms,
        Closing calldata closing,
        Signature calldata signatureA,
        Signature calldata signatureB
    ) external locks {
        bytes32 id = channelId(terms);
        Channel storage channel_ = _channels[id];
        ChannelSlot slot = channel_.slot;
        if (slot.phase() == Phase.None || slot.phase() == Phase.Closed) revert Errors.WrongPhase(slot.phase());
        if (closing.channelId != id) revert Errors.WrongChannel(id, closing.channelId);
        if (closing.nonce <= slot.nonce()) revert Errors.NonceNotNewer(slot.nonce(), closing.nonce);
        _requireShortLived(closing.validUntil);
        Contributions contributions = channel_.contributions;
        int256 unclamped = contributions.unclampedCash(Party.A, closing.netToB);
        uint256 pot = contributions.pot();
        if (unclamped < 0 || uint256(unclamped) > pot) revert Errors.ClosingNeedsClamp(unclamped, pot);

        bytes32 digest = _digest(Hashing.hash(closing));
        Signatures.requireSigner(terms.signerA, digest, signatureA);
        Signatures.requireSigner(terms.signerB, digest, signatureB);
        _end(id, channel_, terms, uint256(unclamped), pot - uint256(unclamped));
    }

    /// @inheritdoc IAdjudicator
    function abandon(Terms calldata terms) external locks {
        bytes32 id = channelId(terms);
        Channel storage channel_ = _channels[id];
        ChannelSlot slot = channel_.slot;
        _requireRunOff(slot);
        if (slot.settled()) revert Errors.PortfolioShown();
        uint256 from = Settlement.abandonFrom(slot, terms);
        if (block.timestamp < from) revert Errors.TooEarlyToAbandon(from);
        (uint256 cashA, uint256 cashB) = channel_.contributions.cash(0);
        _payOut(id, channel_, slot, terms, cashA, cashB);
    }

    /// @inheritdoc IAdjudicator
    function claim(address token, address to) external locks returns (uint256 amount) {
        if (to == address(0)) revert Errors.ZeroAddress();
        amount = claimable[token][msg.sender];
        if (amount == 0) revert Errors.NothingToClaim();
        claimable[token][msg.sender] = 0;
        emit Events.Claimed(token, msg.sender, to, amount);
        Tokens.send(token, to, amount);
    }

    // ---- views

    /// @inheritdoc IAdjudicator
    function channel(bytes32 id) external view returns (ChannelView memory view_) {
        Channel storage channel_ = _channels[id];
        ChannelSlot slot = channel_.slot;
        Contributions contributions = channel_.contributions;
        view_.phase = slot.phase();
        view_.nonce = slot.nonce();
        view_.filedNonce = slot.filedNonce();
        view_.filer = slot.filer();
        view_.deadline = slot.deadline();
        view_.cureEndA = slot.cureEnd(Party.A);
        view_.cureEndB = slot.cureEnd(Party.B);
        view_.flags = slot.flags();
        view_.portfolioHash = channel_.portfolioHash;
        view_.contributionA = contributions.contributionA();
        view_.contributionB = contributions.contributionB();
    }

    /// @inheritdoc IAdjudicator
    function phaseNow(bytes32 id) external view returns (Phase) {
        return _channels[id].slot.phaseAt(block.timestamp);
    }

    /// @inheritdoc IAdjudicator
    function cash(bytes32 id, int128 netToB) external view returns (uint256 cashA, uint256 cashB) {
        return _channels[id].contributions.cash(netToB);
    }

    /// @inheritdoc IAdjudicator
    function channelId(Terms calldata terms) public view returns (bytes32) {
        return _id(terms.signerA, terms.signerB, Hashing.hash(terms));
    }

    /// @inheritdoc IAdjudicator
    function domainSeparator() public view returns (bytes32) {
        // The chain id is read each time: after a fork, signatures for one chain are worth nothing on the other.
        return block.chainid == deploymentChainId ? _separatorAtDeployment : _computeSeparator();
    }

    // ---- opening

    /// @dev Everything of `open` but the deposits: storage comes before the tokens.
    function _open(
        Terms calldata terms,
        uint128 depositA,
        uint128 depositB,
        uint64 validUntil,
        bytes calldata signatureA,
        bytes calldata signatureB
    ) private returns (bytes32 id) {
        if (block.timestamp > validUntil) revert Errors.Expired(validUntil);
        TermsBounds.check(terms);
        bytes32 termsHash = Hashing.hash(terms);
        id = _id(terms.signerA, terms.signerB, termsHash);
        Channel storage channel_ = _channels[id];
        if (channel_.slot.phase() != Phase.None) revert Errors.ChannelExists(id);

        bytes32 digest = _digest(Hashing.hashOpening(termsHash, depositA, depositB, validUntil));
        Signatures.requireParty(terms.partyA, digest, signatureA);
        Signatures.requireParty(terms.partyB, digest, signatureB);

        channel_.slot = ChannelSlotLibrary.only(Phase.Open);
        channel_.contributions = ContributionsLibrary.pack(int256(uint256(depositA)), int256(uint256(depositB)));
        emit Events.Opened(id, terms.signerA, terms.signerB, depositA, depositB);
    }

    /// @dev Both deposits, exactly, or nothing.
    function _pullDeposits(Terms calldata terms, uint128 depositA, uint128 depositB) private {
        uint256 before = Tokens.balance(terms.collateral);
        if (depositA != 0) Tokens.pull(terms.collateral, terms.partyA, depositA);
        if (depositB != 0) Tokens.pull(terms.collateral, terms.partyB, depositB);
        _requireArrived(terms.collateral, before, uint256(depositA) + depositB);
    }

    // ---- recording

    /// @dev Cheap checks, before any signature (rules 2 and 9): newer, in its box, and a phase that takes states.
    function _recordable(ChannelSlot slot, uint64 nonce, uint64 validUntil) private view returns (bool) {
        if (nonce <= slot.nonce()) return false;
        if (validUntil != 0 && block.timestamp > validUntil) return false;
        Phase phase = slot.phaseAt(block.timestamp);
        return phase == Phase.Open || phase == Phase.Disputed;
    }

    function _record(bytes32 id, Channel storage channel_, ChannelSlot slot, uint64 nonce, bytes32 portfolioHash)
        private
    {
        channel_.slot = slot.withNonce(nonce);
        channel_.portfolioHash = portfolioHash;
        emit Events.Checkpointed(id, nonce, portfolioHash);
    }

    /// @dev The channel of `terms`, Open or in its dispute window.
    function _disputable(Terms calldata terms)
        private
        view
        returns (bytes32 id, Channel storage channel_, ChannelSlot slot)
    {
        id = channelId(terms);
        channel_ = _channels[id];
        slot = channel_.slot;
        Phase phase = slot.phaseAt(block.timestamp);
        if (phase != Phase.Open && phase != Phase.Disputed) revert Errors.WrongPhase(phase);
    }

    /// @dev The side whose party or signer the caller is.
    function _sideOfCaller(Terms calldata terms) private view returns (Party) {
        if (msg.sender == terms.partyA || msg.sender == terms.signerA) return Party.A;
        if (msg.sender == terms.partyB || msg.sender == terms.signerB) return Party.B;
        revert Errors.NotAMember(msg.sender);
    }

    /// @dev The side whose signer authorised the caller to dispute this channel, up to now.
    function _sideOfAuthoriser(
        bytes32 id,
        Terms calldata terms,
        DisputeAuthorisation calldata authorisation,
        Signature calldata signature
    ) private view returns (Party) {
        if (authorisation.channelId != id) {
            revert Errors.WrongChannel(id, authorisation.channelId);
        }
        if (authorisation.delegate != msg.sender) revert Errors.NotTheDelegate(authorisation.delegate, msg.sender);
        if (block.timestamp > authorisation.validUntil) revert Errors.Expired(authorisation.validUntil);
        address signer = Signatures.recover(_digest(Hashing.hash(authorisation)), signature.r, signature.vs);
        // Neither signer is the zero address, which is what an invalid signature recovers.
        if (signer == terms.signerA) return Party.A;
        if (signer == terms.signerB) return Party.B;
        revert Errors.NotASigner(signer);
    }

    /// @dev `dispute` with a state, in the name of `filer`.
    function _dispute(
        bytes32 id,
        Channel storage channel_,
        ChannelSlot slot,
        Party filer,
        Terms calldata terms,
        State calldata state,
        Signature calldata signatureA,
        Signature calldata signatureB
    ) private returns (bool recorded) {
        if (state.channelId != id) revert Errors.WrongChannel(id, state.channelId);
        bool first = slot.phase() == Phase.Open;
        recorded = _recordable(slot, state.nonce, state.validUntil);
        if (recorded) {
            bytes32 portfolioHash = Hashing.hash(state.portfolio);
            bytes32 digest = _digest(Hashing.hashState(id, state.nonce, state.validUntil, portfolioHash));
            Signatures.requireSigner(terms.signerA, digest, signatureA);
            Signatures.requireSigner(terms.signerB, digest, signatureB);
            if (first) {
                slot = slot.withNonce(state.nonce);
                channel_.portfolioHash = portfolioHash;
            } else {
                _record(id, channel_, slot, state.nonce, portfolioHash);
            }
        } else if (first && state.nonce > slot.nonce()) {
            // Newer, so it is the box that has passed. Filing without it would file something the caller did not mean.
            revert Errors.Expired(state.validUntil);
        }
        if (first) _file(id, channel_, slot, filer, terms.disputeWindow);
    }

    /// @dev Starts the window on what `slot` and the stored portfolio hash say.
    function _file(bytes32 id, Channel storage channel_, ChannelSlot slot, Party filer, uint256 window) private {
        uint256 deadline = block.timestamp + window;
        if (deadline > type(uint32).max) revert Errors.TimeOverflow();
        channel_.slot = slot.disputed(filer, uint32(deadline));
        uint256 number = ++disputeCount;
        emit Events.Disputed(id, number, filer, slot.nonce(), channel_.portfolioHash, uint32(deadline));
    }

    // ---- deciding

    function _requireRunOff(ChannelSlot slot) private view {
        Phase phase = slot.phaseAt(block.timestamp);
        if (phase != Phase.RunOff) revert Errors.WrongPhase(phase);
    }

    /// @dev Hash of the portfolio that counts.
    function _recorded(Channel storage channel_, ChannelSlot slot) private view returns (bytes32) {
        return slot.nonce() == 0 ? Hashing.EMPTY_PORTFOLIO_HASH : channel_.portfolioHash;
    }

    function _query(Terms calldata terms, uint256 time, Spot[] memory prices)
        private
        view
        returns (RiskEngineCalls.Query memory)
    {
        return RiskEngineCalls.Query({engine: riskEngine, unit: terms.unit, time: time, prices: prices});
    }

    /// @dev Reverts unless `party`, with this cash, is short (rule 6).
    function _requireShort(
        RiskEngineCalls.Query memory query,
        Portfolio calldata portfolio,
        RiskParams[] calldata risk,
        Scenario[] calldata scenarios,
        Party party,
        int256 cash_
    ) private view returns (int256 equity, uint256 maintenance) {
        (equity, maintenance) = RiskEngineCalls.assess(query, portfolio, risk, scenarios, _side(party));
        equity += cash_;
        if (equity >= int256(maintenance)) revert Errors.NotShort(equity, maintenance);
    }

    /// @dev A party as RiskEngine names it.
    function _side(Party party) private pure returns (int256) {
        return party == Party.A ? int256(1) : -1;
    }

    // ---- paying

    /// @dev Pays these amounts, that add up to the pot, less a stale penalty: last in the waterfall (rule 4).
    function _payOut(
        bytes32 id,
        Channel storage channel_,
        ChannelSlot slot,
        Terms calldata terms,
        uint256 cashA,
        uint256 cashB
    ) private {
        if (_filedStale(slot, terms)) {
            (, cashA, cashB) = _penalised(slot.filer(), terms.stalePenalty, cashA, cashB);
        }
        _end(id, channel_, terms, cashA, cashB);
    }

    /// @dev Whether the dispute was filed on a state so old that its filer owes the penalty.
    function _filedStale(ChannelSlot slot, Terms calldata terms) private pure returns (bool) {
        return slot.nonce() - slot.filedNonce() > terms.maxInFlight;
    }

    /// @dev Moves a penalty from `party` to the other, as far as its cash goes.
    function _penalised(Party party, uint256 penalty, uint256 cashA, uint256 cashB)
        private
        pure
        returns (uint256, uint256, uint256)
    {
        uint256 has = party == Party.A ? cashA : cashB;
        if (penalty > has) penalty = has;
        if (party == Party.A) return (penalty, cashA - penalty, cashB + penalty);
        return (penalty, cashA + penalty, cashB - penalty);
    }

    /// @dev Closes for ever and pays. The two amounts add up to the pot (rule 1); storage comes before the tokens.
    function _end(bytes32 id, Channel storage channel_, Terms calldata terms, uint256 cashA, uint256 cashB) private {
        channel_.slot = ChannelSlotLibrary.only(Phase.Closed);
        channel_.portfolioHash = 0;
        channel_.contributions = Contributions.wrap(0);
        emit Events.Closed(id, cashA, cashB);
        _push(terms.collateral, terms.partyA, cashA);
        _push(terms.collateral, terms.partyB, cashB);
    }

    /// @dev A payout that cannot be pushed becomes a claim: neither party can block the other's (rule 10).
    function _push(address token, address payee, uint256 amount) private {
        if (amount == 0 || Tokens.push(token, payee, amount)) return;
        claimable[token][payee] += amount;
        emit Events.PayoutDeferred(token, payee, amount);
    }

    /// @dev Exactly `amount` more than `before`: fee-on-transfer tokens would make one channel owe another's money.
    function _requireArrived(address token, uint256 before, uint256 amount) private view {
        uint256 received = Tokens.balance(token) - before;
        if (received != amount) revert Errors.WrongAmountReceived(amount, received);
    }

    /// @dev A signature that pays must be used soon: set, not passed, at most an hour ahead.
    function _requireShortLived(uint256 validUntil) private view {
        if (block.timestamp > validUntil) revert Errors.Expired(validUntil);
        if (validUntil > block.timestamp + MAX_VALIDITY) revert Errors.ValidUntilTooFar(validUntil);
    }

    // ---- hashing

    function _id(address signerA, address signerB, bytes32 termsHash) private view returns (bytes32) {
        return Hashing.channelId(deploymentChainId, address(this), signerA, signerB, termsHash);
    }

    function _digest(bytes32 structHash) private view returns (bytes32) {
        return Hashing.digest(domainSeparator(), structHash);
    }

    function _computeSeparator() private view returns (bytes32) {
        return Hashing.domainSeparator("OptionChannels", "1", address(this));
    }
}
