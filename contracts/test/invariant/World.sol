// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Status} from "../../src/interfaces/IOracle.sol";
import {ChannelView, Party, Phase, Portfolio, Terms} from "../../src/libraries/Types.sol";
import {TestToken} from "../../src/testing/TestToken.sol";
import {FakeOracle} from "../utils/FakeOracle.sol";
import {HostileToken} from "../utils/HostileToken.sol";
import {Portfolios} from "./Portfolios.sol";

/// @notice The time, read anew at each call: the optimiser takes `block.timestamp` for constant, also across a warp.
interface Clock {
    function getBlockTimestamp() external view returns (uint256);
}

/// @notice Four channels of one Adjudicator: three of one token, the fourth of a token that misbehaves. In the first A is
/// honest, in the second B; of the others both sides do as they like. The model of each stands beside it: what the
/// contract should have stored, what was paid in and out, what the honest side holds.
abstract contract World is Portfolios {
    uint256 public constant CHANNELS = 4;
    string internal constant CONSERVATION = "I-1 conservation";
    /// The channel of the hostile token.
    uint256 internal constant HOSTILE = 3;
    uint256 internal constant ALL = 2 ** CHANNELS - 1;

    struct Model {
        uint256 index;
        Terms terms;
        bytes32 id;
        /// What the contract should have stored, all of it.
        ChannelView stored;
        /// The portfolio whose hash that is.
        Portfolio portfolio;
        /// When each party was last called for margin.
        uint256 calledAtA;
        uint256 calledAtB;
        uint256 paidIn;
        uint256 paidOut;
        /// The side that follows the signing rules; None = neither does.
        Party honest;
        /// Newest permanent state that the honest side holds: its nonce, and what its portfolio was drawn from.
        uint64 held;
        uint256 heldSeed;
        uint256 heldAt;
        /// Hash of what the contract stored when it was last looked at.
        bytes32 seen;
    }

    /// @dev What one handler came to.
    struct Tally {
        uint256 tried;
        uint256 done;
    }

    Model[4] internal _models;
    HostileToken internal _bad;
    /// The hostile token said that a transfer failed which it had made: from then on it is worth what it says.
    bool internal _lied;
    /// Disputes filed, by the model's count.
    uint256 internal _disputes;
    /// Bit i: this handler has called about channel i.
    uint256 internal _touched;
    mapping(bytes4 handler => Tally) internal _tallies;

    constructor() {
        setUp();
        _bad = new HostileToken();
        address[3] memory payers = [partyA, partyB, stranger];
        for (uint256 i; i < 3; ++i) {
            _bad.mint(payers[i], 1_000_000e6);
            vm.prank(payers[i]);
            _bad.approve(address(adjudicator), type(uint256).max);
        }
        for (uint256 i; i < CHANNELS; ++i) {
            Terms memory terms = defaultTerms();
            terms.salt = bytes32(i);
            terms.stalePenalty = 50e6;
            if (i == 1) (terms.maxTenor, terms.disputeWindow, terms.cureWindow) = (1 days, 4 days, 1 hours);
            if (i == 2) (terms.unit, terms.stalePenalty) = (1e18, type(uint128).max); // beyond any pot
            if (i == HOSTILE) terms.collateral = address(_bad);
            _models[i].index = i;
            _models[i].terms = terms;
            _models[i].id = adjudicator.channelId(terms);
            _models[i].honest = i == 0 ? Party.A : i == 1 ? Party.B : Party.None;
        }
    }

    // ---- time and chance

    function time() internal view returns (uint256) {
        return Clock(address(vm)).getBlockTimestamp();
    }

    function warpTo(uint256 later) internal {
        if (later > time()) vm.warp(later);
    }

    /// @dev Four of five times a handler does what should go through.
    function sane(uint256 seed) internal pure returns (bool) {
        return draw(seed, "sane", 5) != 0;
    }

    function anySide(uint256 seed) internal pure returns (Party) {
        return draw(seed, "side", 2) == 0 ? Party.A : Party.B;
    }

    function anyChannel(uint256 seed) internal view returns (Model storage) {
        return _models[draw(seed, "channel", CHANNELS)];
    }

    // ---- what happened

    /// @dev Calls the Adjudicator about this channel.
    function attempt(Model storage m, address sender, bytes memory data)
        internal
        returns (bool success, bytes memory result)
    {
        _touched |= 1 << m.index;
        vm.prank(sender);
        (success, result) = address(adjudicator).call{gas: 4_000_000}(data);
    }

    /// @dev Whether a call went through must be what the model says.
    function expect(bool expected, bool success, string memory law, string memory call) internal pure {
        if (success != expected) fail(law, string.concat(call, success ? " went through" : " was refused"));
    }

    /// @dev Ends the run and names the law.
    function fail(string memory law, string memory what) internal pure {
        revert(string.concat(law, ": ", what));
    }

    /// @dev To be called by the handler itself.
    function tally(bool done) internal {
        Tally storage t = _tallies[msg.sig];
        ++t.tried;
        if (done) ++t.done;
    }

    // ---- money

    function potOf(Model storage m) internal view returns (uint256) {
        return uint256(int256(m.stored.contributionA) + m.stored.contributionB);
    }

    /// @dev What the contract holds of a token beyond what it owes to payees by name.
    function backing(address collateral) internal view returns (uint256) {
        uint256 owed = adjudicator.claimable(collateral, partyA) + adjudicator.claimable(collateral, partyB);
        uint256 held = TestToken(collateral).balanceOf(address(adjudicator));
        if (collateral == address(_bad) && _lied) return held;
        if (held < owed) fail(CONSERVATION, "owes more to payees than it has");
        return held - owed;
    }

    /// @dev What a party has of the channel's token, what it may claim included.
    function wealth(Model storage m, Party party) internal view returns (uint256) {
        address account = addressOf(party);
        return TestToken(m.terms.collateral).balanceOf(account) + adjudicator.claimable(m.terms.collateral, account);
    }

    /// @dev Whether the token moves what it is told to, so that what a party is credited can be told from its balance.
    function exact(Model storage m) internal view returns (bool) {
        if (m.index != HOSTILE) return true;
        HostileToken.Fault fault = _bad.fault();
        return fault != HostileToken.Fault.Fee && fault != HostileToken.Fault.ShrinksOnPull
            && fault != HostileToken.Fault.ReturnsTwo && fault != HostileToken.Fault.ReturnsShort;
    }

    // ---- values

    function phaseOf(Model storage m) internal view returns (Phase) {
        Phase phase = m.stored.phase;
        return phase == Phase.Disputed && time() >= m.stored.deadline ? Phase.RunOff : phase;
    }

    function nothing() internal pure returns (Portfolio memory) {}

    function store(Model storage m, Portfolio memory portfolio) internal {
        m.stored.portfolioHash = harness.hashPortfolio(portfolio);
        m.portfolio.netToB = portfolio.netToB;
        m.portfolio.marginA = portfolio.marginA;
        m.portfolio.marginB = portfolio.marginB;
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

    /// @dev Puts a new channel in the place of a closed one, once that cannot be opened again and all it held is paid.
    function succeed(Model storage m) internal {
        (bool again,) = attempt(m, stranger, openData(m.terms, 0, 0));
        if (again) fail("I-9 signatures", "an id was used twice");
        if (m.paidIn != m.paidOut) fail(CONSERVATION, "closed with money in it");
        m.terms.salt = keccak256(abi.encode(m.terms.salt));
        m.id = adjudicator.channelId(m.terms);
        (m.paidIn, m.paidOut, m.held) = (0, 0, 0);
        delete m.stored;
        store(m, nothing());
        m.stored.portfolioHash = 0;
    }

    // ---- prices

    /// @dev The oracle and the tokens behave again.
    function heal() internal {
        oracle.setFault(FakeOracle.Fault.None);
        oracle.setEffort(0);
        oracle.setSpotEffort(0);
        oracle.setSpotFails(false);
        _bad.setFault(HostileToken.Fault.None, address(0));
    }

    /// @dev Spots of this second, `level` of 6 from low to high.
    function setSpots(uint256 level) internal {
        setSpot(ETH, priceAt(ETH, level));
        setSpot(BTC, priceAt(BTC, level));
    }

    /// @dev What the oracle has no price for, of what has expired by `last`, gets one.
    function priceExpired(Model storage m, uint256 last, uint256 level) internal {
        for (uint256 i; i < m.portfolio.positions.length; ++i) {
            (bytes32 feed, uint64 expiry) = (m.portfolio.positions[i].feed, m.portfolio.positions[i].expiry);
            if (expiry > last) continue;
            (Status status, uint256 price) = oracle.answers(feed, expiry);
            if (status == Status.Known && price != 0 && price <= type(uint128).max) continue;
            setKnown(feed, expiry, priceAt(feed, level));
        }
    }
}
