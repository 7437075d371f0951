// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Status} from "../../src/interfaces/IOracle.sol";
import {Party, Phase, SignedState, State, Withdrawal} from "../../src/libraries/Types.sol";
import {Scenario} from "../../src/risk/RiskTypes.sol";
import {FakeOracle} from "../utils/FakeOracle.sol";
import {HostileToken} from "../utils/HostileToken.sol";
import {Laws} from "./Laws.sol";

/// @notice What may happen next, each thing drawn from one seed: four of five times a call that should go through, else
/// one with something against it. Whether it goes through, the model says beforehand.
contract Actor is Laws {
    // ---- the parties and their helpers

    function open(uint256 seed) external isolated {
        Model storage m = sane(seed) ? vacant(seed) : anyChannel(seed);
        if (sane(seed)) heal();
        tally(opens(m, stake(seed, "A"), stake(seed, "B"), draw(seed, "permit", 3) == 0));
    }

    function deposit(uint256 seed) external isolated {
        Model storage m = anyChannel(seed);
        Party party = anySide(seed);
        if (sane(seed)) {
            bool found;
            (found, m) = find(seed, Phase.Open, Phase.RunOff);
            if (!found) m = opened(seed);
            if (m.index == HOSTILE) heal();
            if (undecided(m, party) && time() >= cureEndOf(m, party)) party = otherOf(party);
        }
        uint128 amount = draw(seed, "dust", 4) == 0 ? 1 : uint128(1 + draw(seed, "amount", 100e6));
        tally(deposits(m, party, amount));
    }

    /// @dev Off chain, in a channel with an honest side: the next permanent state.
    function agree(uint256 seed) external isolated {
        (bool found, Model storage m) = find(seed, Phase.Open, Phase.Open);
        if (!found) m = opened(seed);
        if (m.honest != Party.None) agrees(m, seed);
    }

    function checkpoint(uint256 seed) external isolated {
        Model storage m = sane(seed) ? recording(seed) : anyChannel(seed);
        State memory state = drafted(m, seed, sane(seed));
        tally(checkpoints(m, state, seed));
    }

    /// @dev One state of every channel, one of them forged: the others do not mind.
    function checkpointMany(uint256 seed) external isolated {
        if (sane(seed)) recording(seed);
        SignedState[] memory states = new SignedState[](CHANNELS);
        State[] memory given = new State[](CHANNELS);
        uint256[] memory seeds = new uint256[](CHANNELS);
        uint256 forged = draw(seed, "forged", CHANNELS);
        if (sane(seed) && phaseOf(_models[forged]) < Phase.RunOff) forged = (forged + 1) % CHANNELS;
        uint256 expected;
        for (uint256 i; i < CHANNELS; ++i) {
            Model storage m = _models[i];
            seeds[i] = next(seed, i);
            given[i] = drafted(m, seeds[i], sane(seed));
            states[i] = signedState(m.terms, given[i]);
            if (i == forged) states[i].signatureA = states[i].signatureB;
            else if (recordable(m, given[i])) ++expected;
        }
        _touched = ALL;
        vm.prank(tower);
        (bool success, bytes memory result) = address(adjudicator).call(checkpointManyData(states));
        if (!success) return fail(SIGNATURES, "one bad state failed them all");
        if (abi.decode(result, (uint256)) != expected) fail(NEWEST_WINS, "checkpointMany recorded another number");
        for (uint256 i; i < CHANNELS; ++i) {
            if (i != forged && recordable(_models[i], given[i])) records(_models[i], given[i], seeds[i]);
        }
        tally(expected != 0);
    }

    function withdraw(uint256 seed) external isolated {
        Model storage m = anyChannel(seed);
        if (sane(seed)) {
            m = opened(seed);
            if (mostSigned(m, true) <= m.stored.nonce) agrees(m, seed);
        }
        State memory state = drafted(m, seed, sane(seed));
        uint64 most = mostSigned(m, true);
        if (state.nonce > most) state.nonce = most;
        bool insane = !sane(seed);
        state.validUntil = uint64(time() + draw(seed, "until", 1 hours + (insane ? 2 : 1)));
        (uint256 cashA, uint256 cashB) = cashOf(m, state.portfolio.netToB);
        uint128 a = uint128(draw(seed, "all of A", 3) == 0 ? cashA : draw(seed, "a", cashA + 1));
        uint128 b = uint128(draw(seed, "all of B", 3) == 0 ? cashB : draw(seed, "b", cashB + 1));
        if (insane && draw(seed, "too much", 2) == 0) a = uint128(cashA + 1);
        tally(withdraws(m, Withdrawal(state, a, b)));
    }

    function dispute(uint256 seed) external isolated {
        Model storage m = anyChannel(seed);
        Party filer = anySide(seed);
        if (sane(seed)) {
            m = opened(seed);
            if (m.honest != Party.None && mostSigned(m, true) <= m.stored.nonce) agrees(m, seed);
        } else {
            if (draw(seed, "again", 2) == 0) (, m) = find(seed, Phase.Disputed, Phase.Disputed);
            if (draw(seed, "stranger", 3) == 0) filer = Party.None;
        }
        if (m.honest != Party.None && filer == Party.None) filer = otherOf(m.honest);
        tally(filesAs(m, filer, drafted(m, seed, sane(seed)), seed));
    }

    /// @dev The honest side authorises its tower from the newest permanent state it holds on.
    function disputeFor(uint256 seed) external isolated {
        Model storage m = sane(seed) ? recording(seed) : anyChannel(seed);
        Party filer = anySide(seed);
        State memory state = drafted(m, seed, sane(seed));
        uint64 minNonce = m.stored.nonce + uint64(draw(seed, "least", sane(seed) ? 2 : 60));
        if (filer == m.honest) (state, minNonce) = (heldState(m), m.held);
        bytes memory data = disputeForData(
            m.terms, state, authorisationOf(m.terms, minNonce), filer == Party.A ? SIGNER_A_KEY : SIGNER_B_KEY
        );
        tally(files(m, filer, tower, state, data, minNonce));
    }

    function callMargin(uint256 seed) external isolated {
        (Model storage m, Party party) = sane(seed) ? shortParty(seed) : shortInVain(seed);
        tally(callsMargin(m, party, scenarios(seed)));
    }

    function closeOut(uint256 seed) external isolated {
        (Model storage m, Party party) = sane(seed) ? defaulter(seed) : defaulterInVain(seed);
        tally(closesOut(m, party, scenarios(seed)));
    }

    function release(uint256 seed) external isolated {
        (Model storage m, Party party) = sane(seed) ? releasing(seed) : releasingInVain(seed);
        tally(releases(m, party));
    }

    /// @dev Two of three times once the next expiry has come, half of them with its price.
    function settle(uint256 seed) external isolated {
        Model storage m = sane(seed) ? runningOff(seed) : anyChannel(seed);
        if (sane(seed) && draw(seed, "expired", 3) != 0 && m.portfolio.positions.length != 0) {
            warpTo(m.portfolio.positions[0].expiry);
            if (draw(seed, "priced", 2) == 0) priceExpired(m, time(), draw(seed, "level", LEVELS));
        }
        tally(settles(m));
    }

    function close(uint256 seed) external isolated {
        Model storage m = anyChannel(seed);
        if (!sane(seed)) {
            int128 net = int128(int256(draw(seed, "net", 4_000e6))) - 2_000e6;
            uint64 back = uint64(draw(seed, "behind", 3));
            return tally(closes(m, m.stored.nonce < back ? 0 : m.stored.nonce + 1 - back, net));
        }
        bool found;
        (found, m) = find(seed, Phase.Open, Phase.RunOff);
        if (!found) m = opened(seed);
        tally(closes(m, m.stored.nonce + 1 + uint64(draw(seed, "ahead", 3)), fairNet(m, seed)));
    }

    function abandon(uint256 seed) external isolated {
        Model storage m = runningOff(seed);
        bool shown = m.stored.flags & 1 != 0;
        if (sane(seed) && shown) {
            // Another channel then, that nobody has seen.
            closes(m, m.stored.nonce + 1, fairNet(m, seed));
            m = runningOff(seed);
        } else if (!sane(seed) && !shown && draw(seed, "show", 2) == 0) {
            settles(m);
        }
        uint256 early = sane(seed) ? 0 : draw(seed, "early", 2);
        if (m.stored.deadline != 0) warpTo(abandonFrom(m) - early);
        tally(abandons(m));
    }

    /// @dev Of a payout that the token refused; four of five times it has thought better of it.
    function claim(uint256 seed) external isolated {
        Party party = sane(seed) ? refused(seed) : anySide(seed);
        tally(claims(party));
    }

    function pass(uint256 seed) external isolated {
        warpTo(time() + draw(seed, "time", draw(seed, "long", 4) == 0 ? 6 days : 4 hours));
    }

    // ---- the hostile

    /// @dev The oracle fails, lies, speaks too early and changes its mind.
    function oracleActs(uint256 seed) external isolated {
        heal();
        if (draw(seed, "fails", 2) == 0) oracle.setFault(FakeOracle.Fault(draw(seed, "fault", 7)));
        if (draw(seed, "slow", 8) == 0) oracle.setEffort(60_000); // more than it may use
        if (draw(seed, "slow spot", 8) == 0) oracle.setSpotEffort(60_000);
        oracle.setSpotFails(draw(seed, "spot fails", 8) == 0);
        bytes32 feed = draw(seed, "feed", 2) == 0 ? ETH : BTC;
        uint256 price = priceAt(feed, draw(seed, "level", LEVELS));
        if (draw(seed, "no price", 8) == 0) price = draw(seed, "0", 2) * 2 ** 128;
        oracle.setSpot(feed, price, time() + 60 - draw(seed, "age", 3 hours));
        Model storage m = anyChannel(seed);
        uint256 count = m.portfolio.positions.length;
        uint64 moment = uint64(cureEndOf(m, anySide(seed)));
        if (count != 0 && draw(seed, "expiry", 3) != 0) {
            moment = m.portfolio.positions[draw(seed, "which", count)].expiry;
        }
        oracle.set(feed, moment, Status(draw(seed, "status", 4)), price);
    }

    /// @dev Every fault of a token, against everybody or one party. Reentry is tried with a call that would go through.
    function tokenActs(uint256 seed) external isolated {
        HostileToken.Fault fault = HostileToken.Fault(draw(seed, "fault", 11));
        if (fault == HostileToken.Fault.ReturnsTwo || fault == HostileToken.Fault.ReturnsShort) {
            // Seldom: it ends what can be said of its channel.
            if (draw(seed, "lies", 8) != 0) return;
            _lied = true;
        }
        uint256 victim = draw(seed, "victim", 5);
        _bad.setFault(fault, victim == 0 ? address(0) : victim % 2 == 0 ? partyA : partyB);
        if (fault != HostileToken.Fault.Reenters) return;
        Model storage m = anyChannel(seed);
        State memory state = stateOf(m.terms, m.stored.nonce + 1, 0, nothing());
        bytes memory data =
            draw(seed, "records", 2) == 0 ? checkpointData(m.terms, state) : depositData(m.terms, Party.A, 1);
        _bad.setReentry(address(adjudicator), data);
    }

    // ---- what came of it

    function tallyOf(bytes4 handler) external view returns (Tally memory) {
        return _tallies[handler];
    }

    /// @dev Mostly none, which asks for the whole margin; else one for one feed or two.
    function scenarios(uint256 seed) private pure returns (Scenario[] memory list) {
        list = new Scenario[](draw(seed, "scenarios", 4) == 0 ? 1 + draw(seed, "feeds", 2) : 0);
        for (uint256 i; i < list.length; ++i) {
            list[i] = Scenario(0, uint8(draw(next(seed, i), "scenario", 18)), draw(next(seed, i), "outliving", 4) == 0);
        }
    }
}
