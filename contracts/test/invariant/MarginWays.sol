// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Status} from "../../src/interfaces/IOracle.sol";
import {Party, Phase, State} from "../../src/libraries/Types.sol";
import {Scenario} from "../../src/risk/RiskTypes.sol";
import {Ways} from "./Ways.sol";

/// @notice Ways to where a party can be called, closed out or released, and to where just one thing is against it: the
/// time, the turn, an earlier call, the age of the marks, a last resort in the place of a price.
abstract contract MarginWays is Ways {
    // ---- calls

    /// @dev Somebody who is short, and prices that make it so.
    function shortParty(uint256 seed) internal returns (Model storage m, Party party) {
        heal();
        bool found;
        for (uint256 i; i < CHANNELS; ++i) {
            m = oneOf(seed, i);
            (found, party) = shortOf(m, seed, 2);
            if (found) return (m, party);
        }
        m = opened(seed);
        filesOnPositions(m, seed);
        (, party) = shortOf(m, seed, LEVELS);
    }

    /// @dev Which party of this channel can be called, at one of so many levels of price.
    function shortOf(Model storage m, uint256 seed, uint256 levels) private returns (bool, Party party) {
        Phase phase = phaseOf(m);
        party = anySide(seed);
        if ((phase != Phase.Disputed && phase != Phase.RunOff) || !marked(m)) return (false, party);
        priceExpired(m, time(), draw(seed, "expired", LEVELS));
        uint256 level = draw(seed, "level", LEVELS);
        for (uint256 i; i < levels; ++i) {
            setSpots(level + i);
            for (uint256 j; j < 2; ++j) {
                party = otherOf(party);
                if (callable(m, party, none())) return (true, party);
            }
        }
        return (false, party);
    }

    /// @dev Somebody who is short and cannot be called: it was, it was together with the other party, or the marks are too
    /// old.
    function shortInVain(uint256 seed) internal returns (Model storage m, Party party) {
        if (draw(seed, "again", 3) == 0) return shortAgain(seed);
        heal();
        (m, party) = (anyChannel(seed), anySide(seed));
        setSpots(draw(seed, "level", LEVELS));
        for (uint256 i; i < 2 * CHANNELS; ++i) {
            m = oneOf(seed, i / 2);
            party = otherOf(party);
            if (m.stored.deadline == 0) continue;
            priceExpired(m, time(), draw(seed, "expired", LEVELS));
            bool short = shortfall(m, party, time(), false, none()).short;
            if (short && !callable(m, party, none())) return (m, party);
        }
    }

    /// @dev Somebody whose call has lapsed and who is short again, while a call on the other party waits.
    function shortAgain(uint256 seed) private returns (Model storage m, Party party) {
        (m, party) = calledParty(seed);
        Party other = otherOf(party);
        if (undecided(m, other) && cureEndOf(m, other) < cureEndOf(m, party)) (party, other) = (other, party);
        warpTo(decidable(m, party) + m.terms.settlementGrace);
        if (!undecided(m, other) && shortAt(m, other, seed)) callsMargin(m, other, none());
        shortAt(m, party, seed);
    }

    /// @dev Looks for spots at which the party is short.
    function shortAt(Model storage m, Party party, uint256 seed) private returns (bool) {
        priceExpired(m, time(), draw(seed, "expired", LEVELS));
        for (uint256 i; i < LEVELS; ++i) {
            setSpots(draw(seed, "level", LEVELS) + i);
            if (shortfall(m, party, time(), false, none()).short) return true;
        }
        return false;
    }

    // ---- close-outs

    /// @dev Somebody who was called and waits for the decision, now and then with the other party.
    function calledParty(uint256 seed) internal returns (Model storage m, Party party) {
        heal();
        for (uint256 i; i < 2 * CHANNELS; ++i) {
            m = oneOf(seed, i / 2);
            party = i % 2 == 0 ? Party.A : Party.B;
            if (undecided(m, party)) return callsOther(m, party, seed);
        }
        (m, party) = shortParty(seed);
        callsMargin(m, party, none());
        return callsOther(m, party, seed);
    }

    /// @dev Calls the other party as well, one of three times and if it is short at some price, at once or later.
    function callsOther(Model storage m, Party party, uint256 seed) private returns (Model storage, Party) {
        if (undecided(m, otherOf(party)) || draw(seed, "both", 3) != 0) return (m, party);
        warpTo(time() + draw(seed, "later", 2) * 2 hours);
        (bool found, Party second) = shortOf(m, seed, LEVELS);
        if (found) callsMargin(m, second, none());
        return (m, found ? second : party);
    }

    /// @dev Somebody who is short at the end of its cure, decidable now.
    function defaulter(uint256 seed) internal returns (Model storage m, Party party) {
        (m, party) = calledParty(seed);
        warpTo(decidableInTurn(m, party));
        shortAtTheEnd(m, party, seed);
    }

    /// @dev Somebody who is short at the end of its cure, but a moment too early, out of turn, too late, or at no more than
    /// a last resort.
    function defaulterInVain(uint256 seed) internal returns (Model storage m, Party party) {
        (m, party) = calledParty(seed);
        uint256 from = decidable(m, party);
        uint256 against = draw(seed, "against", 4);
        warpTo(against == 0 ? from - 1 : against == 2 ? from + m.terms.settlementGrace : from);
        shortAtTheEnd(m, party, seed);
        if (against != 3) return (m, party);
        uint64 end = uint64(cureEndOf(m, party));
        oracle.set(ETH, end, Status.LastResort, priceAt(ETH, draw(seed, "resort", LEVELS)));
        oracle.set(BTC, end, Status.LastResort, priceAt(BTC, draw(seed, "resort", LEVELS)));
    }

    /// @dev Looks for prices of the cure's end at which the party is short.
    function shortAtTheEnd(Model storage m, Party party, uint256 seed) private {
        uint64 end = uint64(cureEndOf(m, party));
        uint256 level = draw(seed, "level", LEVELS);
        priceExpired(m, end, level);
        for (uint256 i; i < LEVELS; ++i) {
            setKnown(ETH, end, priceAt(ETH, level + i));
            setKnown(BTC, end, priceAt(BTC, level + i));
            if (shortfall(m, party, end, true, none()).short) return;
        }
    }

    // ---- releases

    /// @dev Somebody who can be released something.
    function releasing(uint256 seed) internal returns (Model storage m, Party party) {
        heal();
        bool found;
        for (uint256 i; i < CHANNELS; ++i) {
            m = oneOf(seed, i);
            (found, party) = releasableOf(m, seed);
            if (found) return (m, party);
        }
        m = opened(seed);
        deposits(m, anySide(seed), 1_000e6);
        uint256 small = (seed | SOUND) & ~LARGE;
        if (m.honest != Party.None) agrees(m, small);
        if (draw(seed, "stale filing", 3) == 0) filesStale(m, small);
        else filesAs(m, anySide(seed), drafted(m, small, true), seed);
        warpTo(m.stored.deadline);
        (, party) = releasableOf(m, seed);
    }

    /// @dev A side that is not the honest one files on what is recorded, and the other shows how old that is.
    function filesStale(Model storage m, uint256 seed) private {
        Party filer = m.honest == Party.None ? anySide(seed) : otherOf(m.honest);
        State memory state = stateOf(m.terms, 0, 0, portfolioOf(seed, time()));
        filesAs(m, filer, state, seed);
        uint64 least = m.stored.nonce + m.terms.maxInFlight + 1;
        state.nonce = mostSigned(m, false) < least ? mostSigned(m, false) : least;
        checkpoints(m, state, seed);
    }

    function releasableOf(Model storage m, uint256 seed) private returns (bool, Party party) {
        party = anySide(seed);
        if (phaseOf(m) != Phase.RunOff) return (false, party);
        setSpots(draw(seed, "level", LEVELS));
        settlesExpired(m, seed);
        for (uint256 i; i < 2; ++i) {
            party = otherOf(party);
            if (releasable(m, party) != 0) return (true, party);
        }
        return (false, party);
    }

    /// @dev What has expired is settled, as far as a call on somebody does not hold it back.
    function settlesExpired(Model storage m, uint256 seed) private {
        priceExpired(m, time(), draw(seed, "expired", LEVELS));
        if (phaseOf(m) == Phase.RunOff && anyExpired(m.portfolio, horizon(m))) settles(m);
    }

    /// @dev Somebody with cash above the lock who cannot have it: it is called, had its release, or `settle` is due.
    function releasingInVain(uint256 seed) internal returns (Model storage m, Party party) {
        uint256 against = draw(seed, "against", 3);
        (m, party) = against == 0 ? calledParty(seed) : releasing(seed);
        warpTo(m.stored.deadline);
        if (against == 1) releases(m, party);
        if (against == 2 && m.portfolio.positions.length != 0) {
            warpTo(m.portfolio.positions[0].expiry);
            priceExpired(m, time(), draw(seed, "expired", LEVELS));
            setSpots(draw(seed, "level", LEVELS));
            return (m, party);
        }
        settlesExpired(m, seed);
        for (uint256 i; i < LEVELS; ++i) {
            setSpots(i);
            if (aboveLock(m, party) != 0) return (m, party);
        }
    }

    function oneOf(uint256 seed, uint256 index) private view returns (Model storage) {
        return _models[(draw(seed, "channel", CHANNELS) + index) % CHANNELS];
    }

    function none() private pure returns (Scenario[] memory) {
        return new Scenario[](0);
    }
}
