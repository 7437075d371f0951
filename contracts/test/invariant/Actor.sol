// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAdjudicator} from "../../src/interfaces/IAdjudicator.sol";
import {Status} from "../../src/interfaces/IOracle.sol";
import {
    ChannelView,
    Party,
    Permit,
    Phase,
    Portfolio,
    Position,
    SignedState,
    Spot,
    State,
    Terms,
    Withdrawal
} from "../../src/libraries/Types.sol";
import {TestToken} from "../../src/testing/TestToken.sol";
import {ChannelTest} from "../utils/ChannelTest.sol";
import {FakeOracle} from "../utils/FakeOracle.sol";
import {HostileToken} from "../utils/HostileToken.sol";

/// @notice Random calls in any order on three channels of one token and a fourth of a token that misbehaves, with an
/// oracle that fails, lies and changes its mind. Keeps a model beside the contract: what each channel was paid in and
/// out, the newest nonce it took, what it recorded.
contract Actor is ChannelTest {
    uint256 public constant CHANNELS = 4;
    /// The channel of the hostile token.
    uint256 private constant HOSTILE = 3;
    uint64 private constant FIRST = EXPIRY;

    /// @dev What each handler came to: `took effect` of `tried`.
    struct Tally {
        uint256 tried;
        uint256 done;
    }

    struct Model {
        Terms terms;
        bytes32 id;
        bool opened;
        uint256 paidIn;
        uint256 paidOut;
        uint64 newest;
        uint256 deadline;
        bool shown; // to `settle`
        Portfolio portfolio; // what the contract should have recorded
    }

    Model[4] private _models;
    HostileToken private _bad;
    /// The hostile token said that a transfer failed which it had made: from then on it is worth what it says.
    bool private _lied;
    string[] private _handlers;
    mapping(string handler => Tally) private _tallies;
    bool public broken;
    string public why;
    uint256 public disputes;

    constructor() {
        setUp();
        _bad = new HostileToken();
        address[3] memory payers = [partyA, partyB, stranger];
        for (uint256 i; i < 3; ++i) {
            _bad.mint(payers[i], 1e12);
            vm.prank(payers[i]);
            _bad.approve(address(adjudicator), type(uint256).max);
        }
        for (uint256 i; i < CHANNELS; ++i) {
            Terms memory terms = defaultTerms();
            terms.salt = bytes32(i);
            if (i == 1) terms.maxTenor = 1 days; // abandoned soonest
            if (i == 2) terms.unit = 1e18; // payoffs far beyond the pot
            if (i == HOSTILE) terms.collateral = address(_bad);
            _models[i].terms = terms;
            _models[i].id = adjudicator.channelId(terms);
        }
    }

    // ---- the parties and their helpers

    function open(uint256 which, uint128 a, uint128 b, bool byPermit) external {
        Model storage m = _models[which % CHANNELS];
        (a, b) = (uint128(bound(a, 0, 1_000e6)), uint128(bound(b, 0, 1_000e6)));
        if (adjudicator.phaseNow(m.id) == Phase.Closed) succeed(m);
        Permit memory none;
        Permit memory permit = permitOf(PARTY_A_KEY, type(uint256).max);
        bytes memory data = byPermit ? openWithPermitData(m.terms, a, b, permit, none) : openData(m.terms, a, b);
        if (!attempt("open", data, stranger)) return;
        if (m.opened) fail("an id used twice");
        m.opened = true;
        m.paidIn = uint256(a) + b;
    }

    function deposit(uint256 which, bool toA, uint128 amount) external {
        Model storage m = _models[which % CHANNELS];
        amount = uint128(bound(amount, 1, 100e6));
        if (attempt("deposit", depositData(m.terms, toA ? Party.A : Party.B, amount), stranger)) m.paidIn += amount;
    }

    function checkpoint(uint256 which, uint64 nonce, uint256 seed) external {
        Model storage m = _models[which % CHANNELS];
        nonce = near(m, nonce);
        State memory state = stateOf(m.terms, nonce, box(seed), portfolioOf(seed));
        vm.prank(stranger);
        (bool success, bytes memory result) = address(adjudicator).call(checkpointData(m.terms, state));
        bool recorded = success && abi.decode(result, (bool));
        if (!success) fail("a good signature refused");
        if (recorded) took(m, state);
        tally("checkpoint", recorded);
    }

    /// @dev One state of every channel, one of them forged: the others do not mind.
    function checkpointMany(uint256 forged, uint64 nonce, uint256 seed) external {
        SignedState[] memory states = new SignedState[](CHANNELS);
        State[] memory given = new State[](CHANNELS);
        for (uint256 i; i < CHANNELS; ++i) {
            Model storage m = _models[i];
            given[i] = stateOf(m.terms, near(m, nonce), box(seed), portfolioOf(seed >> i));
            states[i] = signedState(m.terms, given[i]);
        }
        forged %= CHANNELS;
        states[forged].signatureA = states[forged].signatureB;
        vm.prank(tower);
        (bool success, bytes memory result) = address(adjudicator).call(checkpointManyData(states));
        if (!success) return fail("one failure failed them all");
        uint256 recorded = abi.decode(result, (uint256));
        for (uint256 i; i < CHANNELS; ++i) {
            // Each as if it had come alone: recorded, or the nonce has not moved.
            uint64 now_ = adjudicator.channel(_models[i].id).nonce;
            bool moved = now_ == given[i].nonce && now_ > _models[i].newest;
            if (!moved) continue;
            if (i == forged) fail("a forged state recorded");
            took(_models[i], given[i]);
            --recorded;
        }
        if (recorded != 0) fail("a checkpoint miscounted");
        tally("checkpointMany", abi.decode(result, (uint256)) != 0);
    }

    function withdraw(uint256 which, uint64 nonce, uint256 seed, uint128 a, uint128 b) external {
        Model storage m = _models[which % CHANNELS];
        State memory state = stateOf(m.terms, near(m, nonce), uint64(block.timestamp) + 60, portfolioOf(seed));
        (uint256 cashA, uint256 cashB) = adjudicator.cash(m.id, state.portfolio.netToB);
        // All of it, now and then a unit more.
        (a, b) = (uint128(bound(a, 0, cashA + seed % 2)), uint128(bound(b, 0, cashB)));
        bool isOpen = adjudicator.phaseNow(m.id) == Phase.Open;
        uint256 backed = backing(m);
        if (!attempt("withdraw", withdrawData(m.terms, Withdrawal(state, a, b)), stranger)) return;
        if (!isOpen) fail("withdrawn out of phase");
        if (a > cashA || b > cashB) fail("withdrawn beyond the cash");
        took(m, state);
        m.paidOut += paidSince(m, backed, uint256(a) + b);
    }

    function dispute(uint256 which, uint64 nonce, uint256 seed, bool withState) external {
        Model storage m = _models[which % CHANNELS];
        State memory state = stateOf(m.terms, near(m, nonce), box(seed), portfolioOf(seed));
        bytes memory data = withState ? disputeData(m.terms, state) : disputeData(m.terms);
        disputed("dispute", m, state, seed & 1 == 0 ? partyA : signerB, data, withState);
    }

    function disputeFor(uint256 which, uint64 nonce, uint256 seed, uint64 minNonce) external {
        Model storage m = _models[which % CHANNELS];
        State memory state = stateOf(m.terms, near(m, nonce), box(seed), portfolioOf(seed));
        minNonce = near(m, minNonce);
        uint256 key = seed & 1 == 0 ? SIGNER_A_KEY : SIGNER_B_KEY;
        bytes memory data = disputeForData(m.terms, state, authorisationOf(m.terms, minNonce), key);
        if (disputed("disputeFor", m, state, tower, data, true) && m.newest < minNonce) {
            fail("an outgrown authorisation used");
        }
    }

    function settle(uint256 which) external {
        Model storage m = _models[which % CHANNELS];
        uint256 backed = backing(m);
        uint256 held = potOf(m);
        if (!attempt("settle", settleData(m.terms, m.portfolio), stranger)) {
            if (adjudicator.phaseNow(m.id) == Phase.RunOff) fail("settle blocked in run-off");
            return;
        }
        if (block.timestamp < m.deadline) fail("settled before the deadline");
        m.shown = true;
        if (adjudicator.phaseNow(m.id) == Phase.Closed) m.paidOut += paidSince(m, backed, held);
        follow(m);
    }

    function close(uint256 which, uint64 nonce, int128 net) external {
        Model storage m = _models[which % CHANNELS];
        nonce = near(m, nonce);
        uint256 backed = backing(m);
        uint256 held = potOf(m);
        // Within what B can pay, and beyond it now and then.
        net = int128(bound(int256(net), -1_000e6, 1_000e6));
        if (!attempt("close", closeData(m.terms, nonce, net), stranger)) return;
        if (nonce <= m.newest) fail("closed by an older nonce");
        m.paidOut += paidSince(m, backed, held);
    }

    function abandon(uint256 which, bool late) external {
        Model storage m = _models[which % CHANNELS];
        bool runsOff = adjudicator.phaseNow(m.id) == Phase.RunOff;
        uint256 from = m.deadline + m.terms.maxTenor + m.terms.settlementGrace + 180 days;
        if (late && runsOff && block.timestamp < from) vm.warp(from);
        uint256 backed = backing(m);
        uint256 held = potOf(m);
        bool allowed = runsOff && !m.shown && block.timestamp >= from;
        bool success = attempt("abandon", abandonData(m.terms), stranger);
        if (success != allowed) fail("abandoned too early, or locked for ever");
        if (success) m.paidOut += paidSince(m, backed, held);
    }

    /// @dev Now and then the token has thought better of it.
    function claim(bool byB, bool free) external {
        address payee = byB ? partyB : partyA;
        bool owed = adjudicator.claimable(address(_bad), payee) != 0;
        if (free && owed) _bad.setFault(HostileToken.Fault.None, address(0));
        attempt("claim", abi.encodeCall(IAdjudicator.claim, (address(_bad), payee)), payee);
    }

    function pass(uint32 time) external {
        vm.warp(block.timestamp + time % (time % 4 == 0 ? 6 days : 4 hours));
    }

    // ---- the hostile

    /// @dev Fails, lies, speaks too early and changes its mind.
    function oracleActs(uint8 fault, uint8 hour, uint8 status, uint256 price, uint8 effort) external {
        oracle.setFault(FakeOracle.Fault(fault % 2 == 0 ? 0 : fault % 7));
        oracle.setEffort(effort % 4 == 0 ? 60_000 : 0); // more than it may use
        uint64 time = FIRST + uint64(hour % 4) * 1 days;
        oracle.set(ETH, time, Status(status % 4), bound(price, 0, 2 ** 128));
    }

    /// @dev Every fault, against everybody or one party. Reentry is tried with a call that would go through by itself.
    function tokenActs(uint8 fault, uint8 victim, uint256 which) external {
        HostileToken.Fault next = HostileToken.Fault(fault % 11);
        bool lies = next == HostileToken.Fault.ReturnsTwo || next == HostileToken.Fault.ReturnsShort;
        if (lies && victim % 8 != 0) next = HostileToken.Fault.None; // seldom: it ends what can be said of its channel
        else if (lies) _lied = true;
        Model storage m = _models[which % CHANNELS];
        if (next == HostileToken.Fault.Reenters) {
            bytes memory data = which % 2 == 0
                ? checkpointData(m.terms, stateOf(m.terms, m.newest + 1, 0, emptyPortfolio(0)))
                : depositData(m.terms, Party.A, 1);
            _bad.setReentry(address(adjudicator), data);
        } else {
            _bad.setFault(next, victim % 5 == 0 ? address(0) : victim % 2 == 0 ? partyA : partyB);
        }
    }

    // ---- the model

    /// @dev Puts a new channel in the place of a closed one, once that cannot be opened again and all it held is paid.
    function succeed(Model storage m) private {
        vm.prank(stranger);
        (bool again,) = address(adjudicator).call(openData(m.terms, 0, 0));
        if (again) fail("an id used twice");
        if (m.paidIn != m.paidOut) fail("closed with money in it");
        m.terms.salt = keccak256(abi.encode(m.terms.salt));
        m.id = adjudicator.channelId(m.terms);
        (m.opened, m.shown, m.paidIn, m.paidOut, m.newest, m.deadline) = (false, false, 0, 0, 0, 0);
        Portfolio memory nothing;
        store(m, nothing);
    }

    /// @dev A nonce from a few below the newest to many above, the newest itself not seldom.
    function near(Model storage m, uint64 nonce) private view returns (uint64) {
        uint64 below = m.newest < 3 ? m.newest : 3;
        return m.newest - below + nonce % (nonce % 5 == 0 ? 40 : 8);
    }

    /// @dev `dispute` and `disputeFor`: whether it went through, and what the model makes of it.
    function disputed(
        string memory handler,
        Model storage m,
        State memory state,
        address caller,
        bytes memory data,
        bool withState
    ) private returns (bool success) {
        bool first = adjudicator.phaseNow(m.id) == Phase.Open;
        bytes memory result;
        vm.prank(caller);
        (success, result) = address(adjudicator).call(data);
        tally(handler, success);
        if (!success) return false;
        if (withState && abi.decode(result, (bool))) took(m, state);
        if (first) {
            ++disputes;
            m.deadline = block.timestamp + m.terms.disputeWindow;
        }
    }

    function potOf(Model storage m) private view returns (uint256) {
        (uint256 a, uint256 b) = adjudicator.cash(m.id, 0);
        return a + b;
    }

    /// @dev What the contract holds of the channel's token beyond what it owes to payees by name.
    function backing(Model storage m) private view returns (uint256) {
        return backing(m.terms.collateral);
    }

    function backing(address collateral) private view returns (uint256) {
        uint256 owed = adjudicator.claimable(collateral, partyA) + adjudicator.claimable(collateral, partyB);
        uint256 held = TestToken(collateral).balanceOf(address(adjudicator));
        return held - (collateral == address(_bad) && _lied ? 0 : owed);
    }

    /// @dev What left the channel by the token's own books; by the contract's, `said`, once the token has lied.
    function paidSince(Model storage m, uint256 backed, uint256 said) private view returns (uint256) {
        return m.terms.collateral == address(_bad) && _lied ? said : backed - backing(m);
    }

    function took(Model storage m, State memory state) private {
        if (state.nonce <= m.newest) fail("an older state recorded");
        if (state.validUntil != 0 && state.validUntil < block.timestamp) fail("recorded out of its box");
        if (m.deadline != 0 && block.timestamp >= m.deadline) fail("recorded after the deadline");
        m.newest = state.nonce;
        store(m, state.portfolio);
    }

    /// @dev The portfolio after a settlement, from the law of rule 8 and the payoffs alone.
    function follow(Model storage m) private {
        Portfolio memory left = m.portfolio;
        Position[] memory positions = left.positions;
        uint256 kept;
        for (uint256 i; i < positions.length; ++i) {
            Position memory p = positions[i];
            (bool now_, uint256 price) = priceOf(m.terms, left, p);
            if (!now_) {
                positions[kept++] = p;
                continue;
            }
            if (price == 0) continue;
            int256 payoff = harness.payoff(p.kind, p.strike, p.quantity, uint128(price), m.terms.unit);
            left.netToB -= int128(payoff); // far from saturating here
        }
        assembly {
            mstore(positions, kept)
        }
        store(m, left);
    }

    function priceOf(Terms memory terms, Portfolio memory portfolio, Position memory p)
        private
        view
        returns (bool, uint256)
    {
        if (p.expiry > block.timestamp) return (false, 0);
        (Status status, uint256 price) = oracle.answers(ETH, p.expiry);
        FakeOracle.Fault fault = oracle.fault();
        bool failing = fault != FakeOracle.Fault.None || oracle.effort() != 0;
        if (price == 0 || price > type(uint128).max) failing = failing || status != Status.Never;
        if (failing) status = Status.Unset;
        if (status == Status.Known) return (true, price);
        uint256 graceEnd = p.expiry + terms.settlementGrace;
        if (block.timestamp < graceEnd) return (false, 0);
        if (status == Status.LastResort) return (true, price);
        if (status == Status.Never || block.timestamp >= graceEnd + 30 days) {
            return (true, portfolio.spots.length == 0 ? 0 : portfolio.spots[0].price);
        }
        return (false, 0);
    }

    function store(Model storage m, Portfolio memory portfolio) private {
        m.portfolio.netToB = portfolio.netToB;
        m.portfolio.marginA = portfolio.marginA;
        m.portfolio.markedAt = portfolio.markedAt;
        delete m.portfolio.spots;
        delete m.portfolio.positions;
        for (uint256 i; i < portfolio.spots.length; ++i) {
            m.portfolio.spots.push(portfolio.spots[i]);
        }
        for (uint256 i; i < portfolio.positions.length; ++i) {
            m.portfolio.positions.push(portfolio.positions[i]);
        }
    }

    function portfolioOf(uint256 seed) private pure returns (Portfolio memory portfolio) {
        portfolio.netToB = int128(bound(int256(int64(uint64(seed))), -3_000e6, 3_000e6));
        portfolio.marginA = uint64(seed >> 64);
        portfolio.markedAt = uint64(seed >> 128);
        uint256 count = seed % 4;
        if (count == 0) return portfolio;
        portfolio.spots = new Spot[]((seed >> 9) % 2);
        if (portfolio.spots.length == 1) portfolio.spots[0] = Spot(ETH, uint128(seed >> 10) % 9_000e18);
        portfolio.positions = new Position[](count);
        for (uint256 i; i < count; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            portfolio.positions[i] = Position({
                feed: ETH,
                kind: uint8(word % 6),
                expiry: FIRST + uint64((word >> 8) % 4) * 1 days,
                strike: uint128(word >> 16) % 9_000e18,
                quantity: int128(int256((word >> 144) % 20e18)) - 10e18,
                vol: uint64(word >> 16),
                carry: 0
            });
        }
    }

    function box(uint256 seed) private view returns (uint64) {
        if (seed % 3 == 0) return 0;
        return uint64(seed % 3 == 1 ? block.timestamp + 120 : block.timestamp - 1);
    }

    function attempt(string memory handler, bytes memory data, address sender) private returns (bool success) {
        vm.prank(sender);
        (success,) = address(adjudicator).call{gas: 8_000_000}(data);
        tally(handler, success);
    }

    function tally(string memory handler, bool done) private {
        Tally storage t = _tallies[handler];
        if (t.tried++ == 0) _handlers.push(handler);
        if (done) ++t.done;
    }

    function fail(string memory reason) private {
        (broken, why) = (true, reason);
    }

    // ---- the laws

    function check() external view {
        vm.assertTrue(!broken, why);
        uint256 owed;
        for (uint256 i; i < CHANNELS; ++i) {
            Model storage m = _models[i];
            ChannelView memory view_ = adjudicator.channel(m.id);
            uint256 pot = uint256(int256(view_.contributionA) + view_.contributionB);
            if (i != HOSTILE) owed += pot;
            // Isolation and conservation, channel by channel.
            vm.assertEq(m.paidIn, m.paidOut + pot, "in = out + held");
            if (view_.phase == Phase.Closed) {
                vm.assertEq(view_.nonce, 0);
                continue;
            }
            vm.assertEq(view_.nonce, m.newest, "newest wins");
            vm.assertEq(view_.deadline, m.deadline, "the window is fixed");
            if (m.newest == 0) vm.assertEq(view_.portfolioHash, bytes32(0), "nothing recorded");
            else vm.assertEq(view_.portfolioHash, harness.hashPortfolio(m.portfolio), "recorded portfolio");
            (uint256 a, uint256 b) = adjudicator.cash(m.id, m.portfolio.netToB);
            vm.assertEq(a + b, pot, "cash adds up");
        }
        vm.assertEq(token.balanceOf(address(adjudicator)), owed, "holds what it owes");
        if (!_lied) vm.assertEq(backing(address(_bad)), potOf(_models[HOSTILE]), "of the hostile token too");
        vm.assertFalse(_bad.reentered());
        vm.assertEq(adjudicator.disputeCount(), disputes, "no dispute uncounted");
    }

    // ---- how busy it was

    /// @notice Each handler with how often it was tried and how often it did something.
    function tallies() external view returns (string[] memory handlers, Tally[] memory results) {
        handlers = _handlers;
        results = new Tally[](handlers.length);
        for (uint256 i; i < handlers.length; ++i) {
            results[i] = _tallies[handlers[i]];
        }
    }
}
