// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAdjudicator} from "../../src/interfaces/IAdjudicator.sol";
import {ChannelView, Party, Permit, Phase, Portfolio, State, Withdrawal} from "../../src/libraries/Types.sol";
import {Scenario} from "../../src/risk/RiskTypes.sol";
import {HostileToken} from "../utils/HostileToken.sol";
import {Forecast} from "./Forecast.sol";

/// @notice Every call of the Adjudicator with what must come of it: whether it goes through, what it stores, whom it
/// pays how much. The model is moved on here alone.
abstract contract Calls is Forecast {
    string internal constant ISOLATION = "I-1 isolation";
    string internal constant NEWEST_WINS = "I-2 newest wins";
    string internal constant BOUNDED_TIME = "I-3 bounded time";
    string internal constant STALE_FILING = "I-4 stale filing";
    string internal constant NO_HONEST_PENALTY = "I-4 no honest penalty";
    string internal constant SHORTFALL = "I-6 shortfall and close-out";
    string internal constant SIGNATURES = "I-9 signatures";
    string internal constant PHASES = "the table of phases";

    /// @dev What the parties had, and what stood behind the channels of the token, before a call.
    struct Purse {
        uint256 a;
        uint256 b;
        uint256 backed;
    }

    // ---- opening and funding

    function opens(Model storage m, uint128 a, uint128 b, bool byPermit) internal returns (bool success) {
        Permit memory none;
        bytes memory data = byPermit
            ? openWithPermitData(m.terms, a, b, permitOf(PARTY_A_KEY, type(uint256).max), none)
            : openData(m.terms, a, b);
        (success,) = attempt(m, stranger, data);
        if (success || !unreliable(m)) expect(m.stored.phase == Phase.None, success, SIGNATURES, "open");
        if (!success) return false;
        m.stored.phase = Phase.Open;
        (m.stored.contributionA, m.stored.contributionB) = (int128(a), int128(b));
        m.paidIn = uint256(a) + b;
    }

    function deposits(Model storage m, Party party, uint128 amount) internal returns (bool success) {
        bool cureEnded = undecided(m, party) && time() >= cureEndOf(m, party);
        (success,) = attempt(m, stranger, depositData(m.terms, party, amount));
        string memory law = cureEnded ? SHORTFALL : PHASES;
        if (success || !unreliable(m)) expect(underWay(m) && !cureEnded, success, law, "deposit");
        if (!success) return false;
        if (party == Party.A) m.stored.contributionA += int128(amount);
        else m.stored.contributionB += int128(amount);
        m.paidIn += amount;
    }

    function underWay(Model storage m) internal view returns (bool) {
        return m.stored.phase != Phase.None && m.stored.phase != Phase.Closed;
    }

    /// @dev Whether the token may refuse to be pulled, or come short.
    function unreliable(Model storage m) private view returns (bool) {
        return m.index == HOSTILE && _bad.fault() != HostileToken.Fault.None && _bad.victim() == address(0);
    }

    // ---- recording

    function recordable(Model storage m, State memory state) internal view returns (bool) {
        Phase phase = phaseOf(m);
        return state.nonce > m.stored.nonce && (state.validUntil == 0 || state.validUntil >= time())
            && (phase == Phase.Open || phase == Phase.Disputed);
    }

    function checkpoints(Model storage m, State memory state, uint256 seed) internal returns (bool recorded) {
        bool expected = recordable(m, state);
        (bool success, bytes memory result) = attempt(m, stranger, checkpointData(m.terms, state));
        if (!success) fail(SIGNATURES, "a checkpoint that both signed reverted");
        recorded = success && abi.decode(result, (bool));
        expect(expected, recorded, NEWEST_WINS, "checkpoint");
        if (recorded) records(m, state, seed);
    }

    /// @param seed what the portfolio was drawn from, now.
    function records(Model storage m, State memory state, uint256 seed) internal {
        m.stored.nonce = state.nonce;
        store(m, state.portfolio);
        // The honest side sees on chain what the other kept from it; but not at once.
        bool noticed = phaseOf(m) == Phase.Open && draw(seed, "noticed", 4) != 0;
        if (noticed && state.validUntil == 0 && state.nonce > m.held) holds(m, state.nonce, seed);
    }

    function holds(Model storage m, uint64 nonce, uint256 seed) internal {
        (m.held, m.heldSeed, m.heldAt) = (nonce, seed, time());
    }

    function withdraws(Model storage m, Withdrawal memory w) internal returns (bool success) {
        (uint256 cashA, uint256 cashB) = cashOf(m, w.state.portfolio.netToB);
        bool covered = w.amountA <= cashA && w.amountB <= cashB;
        bool newer = w.state.nonce > m.stored.nonce;
        bool inTime = w.state.validUntil >= time() && w.state.validUntil <= time() + 1 hours;
        Purse memory before = purse(m);
        (success,) = attempt(m, stranger, withdrawData(m.terms, w));
        string memory law = !covered ? CONSERVATION : newer ? PHASES : NEWEST_WINS;
        expect(phaseOf(m) == Phase.Open && newer && inTime && covered, success, law, "withdraw");
        if (!success) return false;
        m.stored.nonce = w.state.nonce;
        store(m, w.state.portfolio);
        m.stored.contributionA -= int128(w.amountA);
        m.stored.contributionB -= int128(w.amountB);
        pays(m, before, w.amountA, w.amountB);
    }

    // ---- disputes

    /// @param filer in whose name; None = the caller may not.
    /// @param state nonce 0 = none given.
    function files(Model storage m, Party filer, address sender, State memory state, bytes memory data, uint64 minNonce)
        internal
        returns (bool success)
    {
        Phase phase = phaseOf(m);
        bool takes = recordable(m, state);
        bool boxed = phase == Phase.Open && !takes && state.nonce > m.stored.nonce;
        bool old = (takes ? state.nonce : m.stored.nonce) < minNonce;
        bool expected = (phase == Phase.Open || phase == Phase.Disputed) && filer != Party.None && !boxed && !old;
        bytes memory result;
        (success, result) = attempt(m, sender, data);
        expect(expected, success, filer == Party.None || old ? SIGNATURES : PHASES, "dispute");
        if (!success) return false;
        if (result.length != 0) expect(takes, abi.decode(result, (bool)), NEWEST_WINS, "the state of a dispute");
        if (takes) {
            m.stored.nonce = state.nonce;
            store(m, state.portfolio);
        }
        if (phase == Phase.Disputed) return true;
        ++_disputes;
        m.stored.phase = Phase.Disputed;
        (m.stored.filer, m.stored.filedNonce) = (filer, m.stored.nonce);
        m.stored.deadline = uint32(time() + m.terms.disputeWindow);
    }

    // ---- margin

    function callsMargin(Model storage m, Party party, Scenario[] memory scenarios) internal returns (bool success) {
        bool expected = callable(m, party, scenarios);
        if (expected && scenarios.length != 0 && !callable(m, party, new Scenario[](0))) {
            fail(SHORTFALL, "a part of the margin was above the whole");
        }
        bytes memory result;
        (success, result) = attempt(m, stranger, callMarginData(m.terms, m.portfolio, party, scenarios));
        expect(expected, success, SHORTFALL, "callMargin");
        if (!success) return false;
        uint32 cureEnd = uint32((time() + m.terms.cureWindow + 3_599) / 3_600 * 3_600);
        if (abi.decode(result, (uint32)) != cureEnd) fail(SHORTFALL, "the cure ends at another time");
        if (party == Party.A) (m.stored.cureEndA, m.calledAtA) = (cureEnd, time());
        else (m.stored.cureEndB, m.calledAtB) = (cureEnd, time());
    }

    function closesOut(Model storage m, Party party, Scenario[] memory scenarios) internal returns (bool success) {
        Shortfall memory found = defaulted(m, party, scenarios);
        (bool valued, int256 value) = found.short ? valueOf(m, party, found) : (false, int256(0));
        Purse memory before = purse(m);
        uint256 cashA;
        uint256 cashB;
        if (valued) {
            (cashA, cashB) = cashOf(m, harness.moveNet(int128(found.netToB), value));
            uint256 margin = party == Party.A ? m.portfolio.marginA : m.portfolio.marginB;
            uint256 penalty = together(m) ? 0 : margin * m.terms.defaultPenaltyBps / 10_000;
            (cashA, cashB) = penalised(party, penalty, cashA, cashB);
        }
        (success,) = attempt(m, stranger, closeOutData(m.terms, m.portfolio, party, scenarios));
        expect(valued, success, SHORTFALL, "closeOut");
        if (success) endsAfterDispute(m, before, cashA, cashB);
    }

    function valueOf(Model storage m, Party party, Shortfall memory found)
        private
        view
        returns (bool valued, int256 value)
    {
        uint256 moment = cureEndOf(m, party);
        int256 against = together(m) ? int256(0) : side(party);
        Portfolio memory p = m.portfolio;
        try riskEngine.closeOutValue(
            p.positions, found.prices, risk(), m.terms.unit, p.markedAt, moment, against
        ) returns (
            int256 value_
        ) {
            return (true, value_);
        } catch {}
    }

    function releases(Model storage m, Party party) internal returns (bool success) {
        uint256 amount = releasable(m, party);
        Purse memory before = purse(m);
        bytes memory result;
        (success, result) = attempt(m, addressOf(party), releaseData(m.terms, m.portfolio));
        expect(amount != 0, success, SHORTFALL, "release");
        if (!success) return false;
        if (abi.decode(result, (uint256)) != amount) fail(SHORTFALL, "another amount was released");
        m.stored.flags |= party == Party.A ? 2 : 4;
        if (party == Party.A) m.stored.contributionA -= int128(int256(amount));
        else m.stored.contributionB -= int128(int256(amount));
        if (party == Party.A) pays(m, before, amount, 0);
        else pays(m, before, 0, amount);
    }

    // ---- the end

    function settles(Model storage m) internal returns (bool success) {
        uint256 count = m.portfolio.positions.length;
        Portfolio memory left = settledBy(m, horizon(m));
        uint256 kept = left.positions.length;
        bool expected = phaseOf(m) == Phase.RunOff;
        Purse memory before = purse(m);
        bytes memory result;
        (success, result) = attempt(m, stranger, settleData(m.terms, m.portfolio));
        expect(expected, success, BOUNDED_TIME, "settle");
        if (!success) return false;
        if (abi.decode(result, (uint256)) != count - kept) {
            fail("I-8 one price", "settled another number of positions");
        }
        if (kept == 0) {
            (uint256 cashA, uint256 cashB) = cashOf(m, left.netToB);
            endsAfterDispute(m, before, cashA, cashB);
            return true;
        }
        m.stored.phase = Phase.RunOff;
        m.stored.flags |= 1;
        if (kept != count) store(m, left);
    }

    function closes(Model storage m, uint64 nonce, int128 net) internal returns (bool success) {
        int256 cashA = m.stored.contributionA - int256(net);
        uint256 pot = potOf(m);
        bool covered = cashA >= 0 && cashA <= int256(pot);
        bool newer = nonce > m.stored.nonce;
        Purse memory before = purse(m);
        (success,) = attempt(m, stranger, closeData(m.terms, nonce, net));
        string memory law = !covered ? CONSERVATION : newer ? PHASES : NEWEST_WINS;
        expect(underWay(m) && newer && covered, success, law, "close");
        if (success) ends(m, before, uint256(cashA), pot - uint256(cashA));
    }

    function abandonFrom(Model storage m) internal view returns (uint256) {
        return uint256(m.stored.deadline) + m.terms.maxTenor + m.terms.settlementGrace + 180 days;
    }

    function abandons(Model storage m) internal returns (bool success) {
        bool expected = phaseOf(m) == Phase.RunOff && m.stored.flags & 1 == 0 && time() >= abandonFrom(m);
        Purse memory before = purse(m);
        (success,) = attempt(m, stranger, abandonData(m.terms));
        expect(expected, success, BOUNDED_TIME, "abandon");
        if (!success) return false;
        (uint256 cashA, uint256 cashB) = cashOf(m, 0);
        endsAfterDispute(m, before, cashA, cashB);
    }

    function claims(Party party) internal returns (bool success) {
        address payee = addressOf(party);
        uint256 owed = adjudicator.claimable(address(_bad), payee);
        HostileToken.Fault fault = _bad.fault();
        vm.prank(payee);
        (success,) =
            address(adjudicator).call{gas: 4_000_000}(abi.encodeCall(IAdjudicator.claim, (address(_bad), payee)));
        if (owed == 0 && success) fail(CONSERVATION, "claimed what nobody owed");
        if (owed != 0 && fault == HostileToken.Fault.None && !_lied && !success) {
            fail(BOUNDED_TIME, "a claim was refused by a token that pays");
        }
        if (success && adjudicator.claimable(address(_bad), payee) != 0) fail(CONSERVATION, "a claim can be repeated");
    }

    // ---- paying

    function purse(Model storage m) internal view returns (Purse memory) {
        return Purse(wealth(m, Party.A), wealth(m, Party.B), backing(m.terms.collateral));
    }

    /// @dev The end of a channel that was disputed: less a stale penalty, that an honest filer never owes.
    function endsAfterDispute(Model storage m, Purse memory before, uint256 cashA, uint256 cashB) private {
        if (filedStale(m)) {
            if (m.stored.filer == m.honest) fail(NO_HONEST_PENALTY, "paid by a side that kept the rules");
            (cashA, cashB) = penalised(m.stored.filer, m.terms.stalePenalty, cashA, cashB);
        }
        ends(m, before, cashA, cashB);
    }

    function ends(Model storage m, Purse memory before, uint256 cashA, uint256 cashB) private {
        pays(m, before, cashA, cashB);
        ChannelView memory closed;
        closed.phase = Phase.Closed;
        m.stored = closed;
        (m.calledAtA, m.calledAtB) = (0, 0);
    }

    /// @dev What left the channel by the token's own books (by the contract's, once the token has lied), and what each
    /// party was credited.
    function pays(Model storage m, Purse memory before, uint256 a, uint256 b) private {
        uint256 backed = backing(m.terms.collateral);
        if (backed > before.backed) fail(CONSERVATION, "a payment brought money in");
        m.paidOut += m.index == HOSTILE && _lied ? a + b : before.backed - backed;
        if (!exact(m)) return;
        bool right = wealth(m, Party.A) == before.a + a && wealth(m, Party.B) == before.b + b;
        if (!right) fail(CONSERVATION, "another amount was paid than the figures say");
    }
}
