// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Status} from "../../src/interfaces/IOracle.sol";
import {Party, Phase, Portfolio, Position, Spot, Terms} from "../../src/libraries/Types.sol";
import {Scenario} from "../../src/risk/RiskTypes.sol";
import {FakeOracle} from "../utils/FakeOracle.sol";
import {World} from "./World.sol";

/// @notice What the design says that settling, margin calls, close-outs and releases come to: from the model's own
/// figures, hand-made payoffs (`harness`) and RiskEngine's views.
abstract contract Forecast is World {
    /// @dev What a margin call or a close-out finds.
    struct Shortfall {
        bool short;
        int256 netToB;
        Spot[] prices;
    }

    // ---- settling

    /// @dev Whether what expired at (feed, expiry) settles now, and at which price; 0 = there is none (rule 8).
    function priceOf(Terms memory terms, Spot[] memory signed, bytes32 feed, uint64 expiry)
        internal
        view
        returns (bool, uint256)
    {
        (Status status, uint256 price) = answerOf(feed, expiry);
        if (status == Status.Known) return (true, price);
        uint256 graceEnd = expiry + terms.settlementGrace;
        if (time() < graceEnd) return (false, 0);
        if (status == Status.LastResort) return (true, price);
        if (status != Status.Never && time() < graceEnd + 30 days) return (false, 0);
        for (uint256 i; i < signed.length; ++i) {
            if (signed[i].feed == feed) return (true, signed[i].price);
        }
        return (true, 0);
    }

    /// @dev What the oracle says, as far as it counts: an answer that fails, or is no price, is none.
    function answerOf(bytes32 feed, uint64 moment) internal view returns (Status status, uint256 price) {
        if (oracle.fault() != FakeOracle.Fault.None || oracle.effort() != 0) return (Status.Unset, 0);
        (status, price) = oracle.answers(feed, moment);
        if (status == Status.Never) return (status, 0);
        if (price == 0 || price > type(uint128).max) return (Status.Unset, 0);
    }

    /// @dev The portfolio once everything that expired by `last` and has a price is settled.
    function settledBy(Model storage m, uint256 last) internal view returns (Portfolio memory left) {
        left = m.portfolio;
        Terms memory terms = m.terms;
        Position[] memory positions = left.positions;
        uint256 kept;
        for (uint256 i; i < positions.length; ++i) {
            Position memory p = positions[i];
            (bool known, uint256 price) = p.expiry > last ? (false, 0) : priceOf(terms, left.spots, p.feed, p.expiry);
            if (!known) {
                positions[kept++] = p;
            } else if (price != 0) {
                int256 payoff = harness.payoff(p.kind, p.strike, p.quantity, uint128(price), terms.unit);
                left.netToB = int128(harness.moveNet(left.netToB, payoff));
            }
        }
        assembly {
            mstore(positions, kept)
        }
    }

    /// @dev Latest expiry that may settle now: none after the end of an undecided cure.
    function horizon(Model storage m) internal view returns (uint256 last) {
        last = time();
        if (undecided(m, Party.A) && m.stored.cureEndA < last) last = m.stored.cureEndA;
        if (undecided(m, Party.B) && m.stored.cureEndB < last) last = m.stored.cureEndB;
    }

    function anyExpired(Portfolio memory portfolio, uint256 moment) internal pure returns (bool) {
        for (uint256 i; i < portfolio.positions.length; ++i) {
            if (portfolio.positions[i].expiry <= moment) return true;
        }
        return false;
    }

    // ---- margin calls

    function cureEndOf(Model storage m, Party party) internal view returns (uint256) {
        return party == Party.A ? m.stored.cureEndA : m.stored.cureEndB;
    }

    /// @dev First moment at which a call can be decided, the other party's call aside.
    function decidable(Model storage m, Party party) internal view returns (uint256) {
        uint256 end = cureEndOf(m, party);
        return end > m.stored.deadline ? end : m.stored.deadline;
    }

    function undecided(Model storage m, Party party) internal view returns (bool) {
        return cureEndOf(m, party) != 0 && time() < decidable(m, party) + m.terms.settlementGrace;
    }

    /// @dev Both were called, the later call by the end of the earlier's cure: then nobody is favoured.
    function together(Model storage m) internal view returns (bool) {
        if (m.calledAtA == 0 || m.calledAtB == 0) return false;
        return m.calledAtA < m.calledAtB ? m.calledAtB <= m.stored.cureEndA : m.calledAtA <= m.stored.cureEndB;
    }

    /// @dev The same, but half of the grace later if a call on the other party ended before and would still wait then.
    function decidableInTurn(Model storage m, Party party) internal view returns (uint256 from) {
        from = decidable(m, party);
        Party other = otherOf(party);
        bool first = cureEndOf(m, other) != 0 && cureEndOf(m, other) < cureEndOf(m, party);
        if (first && from < decidable(m, other) + m.terms.settlementGrace) from += m.terms.settlementGrace / 2;
    }

    /// @dev Whether marks were fresh enough for a call when the dispute was filed.
    function marked(Model storage m) internal view returns (bool) {
        uint256 filedAt = m.stored.deadline - m.terms.disputeWindow;
        return uint256(m.portfolio.markedAt) + m.terms.maxMarkAge >= filedAt;
    }

    /// @dev Whether `party` may be called now.
    function callable(Model storage m, Party party, Scenario[] memory scenarios) internal view returns (bool) {
        Phase phase = phaseOf(m);
        if (phase != Phase.Disputed && phase != Phase.RunOff) return false;
        if (undecided(m, party) || !marked(m)) return false;
        if (together(m) && undecided(m, otherOf(party))) return false; // neither again before both have lapsed
        return shortfall(m, party, time(), false, scenarios).short;
    }

    /// @dev Whether the called `party` may be closed out now.
    function defaulted(Model storage m, Party party, Scenario[] memory scenarios)
        internal
        view
        returns (Shortfall memory none)
    {
        if (phaseOf(m) != Phase.RunOff || !undecided(m, party) || time() < decidableInTurn(m, party)) return none;
        return shortfall(m, party, cureEndOf(m, party), true, scenarios);
    }

    /// @dev Whether `party` is short as of `moment`: at the price known of that time, else at the spot.
    function shortfall(Model storage m, Party party, uint256 moment, bool known, Scenario[] memory scenarios)
        internal
        view
        returns (Shortfall memory found)
    {
        Portfolio memory left = settledBy(m, moment);
        if (anyExpired(left, moment)) return found;
        bool priced;
        (priced, found.prices) = pricesOf(m, moment, known);
        if (!priced) return found;
        Portfolio memory p = m.portfolio;
        try riskEngine.assess(
            p.positions, found.prices, risk(), m.terms.unit, p.markedAt, moment, side(party), scenarios
        ) returns (
            int256 value, uint256 maintenance
        ) {
            found.netToB = left.netToB;
            int256 cash = party == Party.A
                ? m.stored.contributionA - int256(left.netToB)
                : m.stored.contributionB + int256(left.netToB);
            found.short = cash + value < int256(maintenance);
        } catch {}
    }

    /// @dev The prices of all feeds with positions open at `moment`, if there are such.
    function pricesOf(Model storage m, uint256 moment, bool known)
        internal
        view
        returns (bool priced, Spot[] memory prices)
    {
        prices = new Spot[](m.portfolio.positions.length);
        uint256 count;
        for (uint256 i; i < m.portfolio.positions.length; ++i) {
            (bytes32 feed, uint64 expiry) = (m.portfolio.positions[i].feed, m.portfolio.positions[i].expiry);
            if (expiry <= moment || (count > 0 && prices[count - 1].feed == feed)) continue;
            uint256 price = known ? knownPrice(feed, moment) : freshSpot(m, feed);
            if (price == 0) return (false, prices);
            prices[count++] = Spot(feed, uint128(price));
        }
        assembly {
            mstore(prices, count)
        }
        priced = true;
    }

    function knownPrice(bytes32 feed, uint256 moment) private view returns (uint256) {
        (Status status, uint256 price) = answerOf(feed, uint64(moment));
        return status == Status.Known ? price : 0;
    }

    function freshSpot(Model storage m, bytes32 feed) private view returns (uint256) {
        if (oracle.spotFails() || oracle.spotEffort() != 0) return 0;
        (uint256 price, uint256 updatedAt) = (oracle.spots(feed, 0), oracle.spots(feed, 1));
        bool counts = price <= type(uint128).max && updatedAt <= time() && updatedAt + m.terms.maxPriceAge >= time();
        return counts ? price : 0;
    }

    // ---- paying

    /// @dev What each party has under `netToB`, which `clamped` limits to the pot.
    function cashOf(Model storage m, int256 netToB) internal view returns (uint256, uint256) {
        return clamped(m.stored.contributionA - netToB, potOf(m));
    }

    function filedStale(Model storage m) internal view returns (bool) {
        return m.stored.nonce > m.stored.filedNonce + m.terms.maxInFlight;
    }

    /// @dev What the party keeps of its cash, and what the other gets, after a penalty.
    function penalised(Party party, uint256 penalty, uint256 cashA, uint256 cashB)
        internal
        pure
        returns (uint256, uint256)
    {
        uint256 pot = cashA + cashB;
        uint256 has = party == Party.A ? cashA : cashB;
        uint256 keeps = has > penalty ? has - penalty : 0;
        return party == Party.A ? (keeps, pot - keeps) : (pot - keeps, keeps);
    }

    /// @dev What `party` would be released now; 0 = nothing, or not now.
    function releasable(Model storage m, Party party) internal view returns (uint256) {
        uint16 flag = party == Party.A ? 2 : 4;
        if (phaseOf(m) != Phase.RunOff || m.stored.flags & flag != 0 || undecided(m, party)) return 0;
        return aboveLock(m, party);
    }

    /// @dev The party's cash above the run-off lock and a stale penalty; 0 also where a price is missing or `settle` is due.
    function aboveLock(Model storage m, Party party) internal view returns (uint256) {
        if (anyExpired(m.portfolio, time())) return 0;
        (bool priced, Spot[] memory prices) = pricesOf(m, time(), false);
        if (!priced) return 0;
        try riskEngine.runOffLock(m.portfolio.positions, prices, risk(), m.terms.unit, time(), side(party)) returns (
            uint256 locked
        ) {
            if (filedStale(m) && m.stored.filer == party) locked += m.terms.stalePenalty;
            (uint256 cashA, uint256 cashB) = cashOf(m, m.portfolio.netToB);
            uint256 has = party == Party.A ? cashA : cashB;
            return has > locked ? has - locked : 0;
        } catch {
            return 0;
        }
    }
}
