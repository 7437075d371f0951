// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChannelView, Party, Phase} from "../../src/libraries/Types.sol";
import {FakeOracle} from "../utils/FakeOracle.sol";
import {HostileToken} from "../utils/HostileToken.sol";
import {MarginWays} from "./MarginWays.sol";

/// @notice The laws, by the numbers they have in SECURITY.md, to be looked at after every call; and the way out that each
/// channel must have at the end of a run.
abstract contract Laws is MarginWays {
    /// @dev How the last part of a channel's life goes.
    enum Ending {
        OracleAlive,
        OracleDead,
        PortfolioUnseen
    }

    constructor() {
        for (uint256 i; i < CHANNELS; ++i) {
            _models[i].seen = keccak256(abi.encode(adjudicator.channel(_models[i].id)));
        }
    }

    /// @dev A handler: it must have changed no channel but those it called about.
    modifier isolated() {
        _touched = 0;
        _;
        for (uint256 i; i < CHANNELS; ++i) {
            bytes32 seen = keccak256(abi.encode(adjudicator.channel(_models[i].id)));
            bool touched = _touched >> i & 1 == 1;
            if (!touched && seen != _models[i].seen) fail(ISOLATION, "calls about other channels changed it");
            _models[i].seen = seen;
        }
    }

    /// @notice All laws, one by one.
    function laws() external view {
        for (uint256 i; i < CHANNELS; ++i) {
            ChannelView memory stored = adjudicator.channel(_models[i].id);
            conservation(_models[i], stored);
            newestWins(_models[i], stored);
            boundedTime(_models[i], stored);
            noHonestPenalty(_models[i], stored);
        }
        isolation();
    }

    function conservation(Model storage m, ChannelView memory stored) private view {
        int256 pot = int256(stored.contributionA) + stored.contributionB;
        if (pot < 0 || m.paidIn != m.paidOut + uint256(pot)) fail(CONSERVATION, "in is not out and what is held");
        if (stored.contributionA != m.stored.contributionA || stored.contributionB != m.stored.contributionB) {
            fail(CONSERVATION, "a contribution is not what that party put in less what it got");
        }
    }

    function newestWins(Model storage m, ChannelView memory stored) private view {
        if (stored.nonce != m.stored.nonce) fail(NEWEST_WINS, "the nonce is not the newest recorded");
        if (stored.portfolioHash != m.stored.portfolioHash) fail(NEWEST_WINS, "another portfolio than recorded");
    }

    /// @dev What time depends on is stored once and stays. That it is enough, `waysOut` shows.
    function boundedTime(Model storage m, ChannelView memory stored) private view {
        if (stored.phase != m.stored.phase) fail(BOUNDED_TIME, "in another phase");
        if (stored.deadline != m.stored.deadline) fail(BOUNDED_TIME, "the window is not fixed");
        bool cures = stored.cureEndA == m.stored.cureEndA && stored.cureEndB == m.stored.cureEndB;
        if (!cures) fail(BOUNDED_TIME, "a cure ends at another time");
        if (stored.flags != m.stored.flags) fail(BOUNDED_TIME, "other flags");
    }

    /// @dev A side that keeps signing rule 2, and files the newest permanent state it holds, never owes the penalty.
    function noHonestPenalty(Model storage m, ChannelView memory stored) private view {
        if (stored.filer != m.stored.filer) fail(STALE_FILING, "filed in another's name");
        if (stored.filedNonce != m.stored.filedNonce) fail(STALE_FILING, "filed on another nonce");
        if (m.honest == Party.None || stored.filer != m.honest) return;
        if (stored.nonce - stored.filedNonce > m.terms.maxInFlight) fail(NO_HONEST_PENALTY, "is owed");
    }

    /// @dev Each token held is some channel's or somebody's claim, and nobody has any but the parties and the payer.
    function isolation() private view {
        uint256 pots;
        for (uint256 i; i < HOSTILE; ++i) {
            pots += potOf(_models[i]);
        }
        uint256 held = token.balanceOf(address(adjudicator));
        if (held != pots || backing(address(token)) != pots) fail(ISOLATION, "holds other than what it owes");
        uint256 others = token.balanceOf(partyA) + token.balanceOf(partyB) + token.balanceOf(stranger);
        if (held + others != token.totalSupply()) fail(ISOLATION, "money went to a third party");
        if (!_lied && backing(address(_bad)) != potOf(_models[HOSTILE])) {
            fail(ISOLATION, "of the hostile token it holds other than what it owes");
        }
        if (_bad.reentered()) fail("I-10 external calls", "reentered");
        if (adjudicator.disputeCount() != _disputes) fail("I-22 no dispute is missed", "miscounted");
    }

    // ---- the way out

    /// @notice From here one party alone gets every channel paid, in the time that the terms allow, whatever the other
    /// does: with an oracle that answers, with one that is dead, and by `abandon` if nobody showed the portfolio.
    function waysOut() external {
        uint256 seed;
        for (uint256 i; i < CHANNELS; ++i) {
            seed = uint256(keccak256(abi.encode(seed, _models[i].seen, time())));
        }
        for (uint256 i; i < CHANNELS; ++i) {
            Ending ending = Ending(draw(seed, "ending", 3));
            seed = next(seed, i);
            uint256 world = vm.snapshotState();
            wayOut(_models[i], anySide(seed), ending, seed);
            vm.revertToState(world);
        }
    }

    function wayOut(Model storage m, Party party, Ending ending, uint256 seed) private {
        if (!underWay(m)) return;
        address sender = addressOf(party);
        if (phaseOf(m) == Phase.Open) {
            send(sender, disputeData(m.terms));
            m.stored.phase = Phase.Disputed;
            m.stored.deadline = uint32(time() + m.terms.disputeWindow);
        }
        bool shown = m.stored.flags & 1 != 0;
        oracle.setFault(ending == Ending.OracleDead ? FakeOracle.Fault.Reverts : FakeOracle.Fault.None);
        oracle.setEffort(0);
        uint256 before = wealth(m, Party.A) + wealth(m, Party.B);
        uint256 pot = potOf(m);
        if (ending == Ending.PortfolioUnseen) {
            warpTo(abandonFrom(m));
            vm.prank(sender);
            (bool success,) = address(adjudicator).call(abandonData(m.terms));
            vm.assertTrue(success != shown, "I-3 bounded time: abandon, if and only if nobody showed the portfolio");
            if (shown) return;
        } else {
            uint256 end = lastExpiry(m);
            if (end < m.stored.deadline) end = m.stored.deadline;
            end += m.terms.settlementGrace + (ending == Ending.OracleDead ? 30 days : 0);
            // A hostile other calls for margin whenever it can.
            harass(m, m.stored.deadline, seed);
            harass(m, end - draw(seed, "just before", 1 days), seed);
            warpTo(end);
            if (ending == Ending.OracleAlive) priceExpired(m, end, draw(seed, "level", LEVELS));
            send(sender, settleData(m.terms, m.portfolio));
        }
        vm.assertTrue(adjudicator.phaseNow(m.id) == Phase.Closed, "I-3 bounded time: one party alone gets it closed");
        if (!exact(m)) return;
        uint256 paid = wealth(m, Party.A) + wealth(m, Party.B) - before;
        vm.assertEq(paid, pot, "I-3 bounded time: all of it is paid, or can be claimed");
        if (m.index == HOSTILE && !_lied) claimAll();
    }

    /// @dev Calls either party for margin, at spots that may make it short.
    function harass(Model storage m, uint256 when, uint256 seed) private {
        warpTo(when);
        setSpots(draw(seed, "harassed", LEVELS));
        for (uint256 i; i < 2; ++i) {
            bytes memory data = callMarginData(m.terms, m.portfolio, i == 0 ? Party.A : Party.B);
            vm.prank(stranger);
            (bool called,) = address(adjudicator).call(data);
            called;
        }
    }

    function lastExpiry(Model storage m) private view returns (uint256 last) {
        for (uint256 i; i < m.portfolio.positions.length; ++i) {
            if (m.portfolio.positions[i].expiry > last) last = m.portfolio.positions[i].expiry;
        }
    }

    /// @dev Once the token pays, every claim can be collected.
    function claimAll() private {
        _bad.setFault(HostileToken.Fault.None, address(0));
        for (uint256 i; i < 2; ++i) {
            address payee = i == 0 ? partyA : partyB;
            uint256 owed = adjudicator.claimable(address(_bad), payee);
            if (owed == 0) continue;
            uint256 had = _bad.balanceOf(payee);
            vm.prank(payee);
            adjudicator.claim(address(_bad), payee);
            vm.assertEq(_bad.balanceOf(payee) - had, owed, "I-3 bounded time: a claim is paid");
        }
    }
}
