// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Party, Phase, State} from "../../src/libraries/Types.sol";
import {HostileToken} from "../utils/HostileToken.sol";
import {Calls} from "./Calls.sol";

/// @notice Ways to where a call can go through: a channel in the right phase, the right nonce, a price that makes somebody
/// short. What already is there is used; else a channel is brought there by the same calls.
abstract contract Ways is Calls {
    uint64 private constant NO_LIMIT = type(uint64).max;

    // ---- states

    /// @dev Highest nonce up to which there are signatures of both: the honest side's reach `maxInFlight` beyond the newest
    /// permanent state it holds, two less for boxed ones (signing rule 2).
    function mostSigned(Model storage m, bool boxed) internal view returns (uint64) {
        if (m.honest == Party.None) return NO_LIMIT;
        return m.held + m.terms.maxInFlight - (boxed ? 2 : 0);
    }

    /// @dev A state that both signed. One that `goes` is newer than what is recorded, as far as signatures reach, and in
    /// its box; else it is older or its box has passed.
    function drafted(Model storage m, uint256 seed, bool goes) internal view returns (State memory) {
        uint64 newest = m.stored.nonce;
        uint64 validUntil = draw(seed, "boxed", 3) != 0 ? 0 : uint64(time() + draw(seed, "box", 120));
        if (!goes && draw(seed, "late", 2) == 0) (goes, validUntil) = (true, uint64(time() - 1));
        uint64 nonce = newest + 1 + uint64(draw(seed, "ahead", draw(seed, "far", 4) == 0 ? 40 : 3));
        if (!goes) nonce = newest - uint64(draw(seed, "behind", newest < 3 ? newest + 1 : 4));
        uint64 most = mostSigned(m, validUntil != 0);
        return stateOf(m.terms, nonce < most ? nonce : most, validUntil, portfolioOf(seed, time()));
    }

    /// @dev The two sides agree on the next permanent state off chain, and the honest one holds it.
    function agrees(Model storage m, uint256 seed) internal {
        uint64 newest = m.stored.nonce;
        if (newest >= m.held + m.terms.maxInFlight) holds(m, newest, seed); // it looks at the chain
        uint64 least = (newest > m.held ? newest : m.held) + 1;
        uint64 room = m.held + m.terms.maxInFlight - least;
        holds(m, least + uint64(draw(seed, "agreed", room + 1)), seed);
    }

    function heldState(Model storage m) internal view returns (State memory) {
        return stateOf(m.terms, m.held, 0, portfolioOf(m.heldSeed, m.heldAt));
    }

    /// @dev Files as `filer`, the honest side on the newest permanent state it holds, the other on whatever there is.
    function filesAs(Model storage m, Party filer, State memory state, uint256 seed) internal returns (bool) {
        if (filer == m.honest) state = heldState(m);
        bool bare = state.nonce == 0 || (filer != m.honest && draw(seed, "bare", 6) == 0);
        bytes memory data = bare ? disputeData(m.terms) : disputeData(m.terms, state);
        if (bare) state.nonce = 0;
        bool bySigner = draw(seed, "signer", 2) == 0;
        address sender = filer == Party.None
            ? stranger
            : filer == Party.A ? (bySigner ? signerA : partyA) : bySigner ? signerB : partyB;
        return files(m, filer, sender, state, data, 0);
    }

    // ---- phases

    function find(uint256 seed, Phase least, Phase most) internal view returns (bool found, Model storage m) {
        uint256 first = draw(seed, "channel", CHANNELS);
        m = _models[first];
        for (uint256 i; i < CHANNELS; ++i) {
            Model storage each = _models[(first + i) % CHANNELS];
            Phase phase = phaseOf(each);
            if (phase >= least && phase <= most) return (true, each);
        }
    }

    /// @dev A channel not opened yet; if there is none, a new one in the place of one that both sides end.
    function vacant(uint256 seed) internal returns (Model storage m) {
        bool found;
        (found, m) = find(seed, Phase.None, Phase.None);
        if (found) return m;
        (found, m) = find(seed, Phase.Closed, Phase.Closed);
        if (!found) closes(m, m.stored.nonce + 1, fairNet(m, seed));
        succeed(m);
    }

    /// @dev A `netToB` that the pot covers.
    function fairNet(Model storage m, uint256 seed) internal view returns (int128) {
        return m.stored.contributionA - int128(int256(draw(seed, "fair", potOf(m) + 1)));
    }

    function stake(uint256 seed, string memory name) internal pure returns (uint128) {
        uint128[4] memory most = [uint128(0), 20e6, 200e6, 1_000e6];
        return uint128(draw(seed, name, most[draw(seed, string.concat(name, " size"), 4)] + 1));
    }

    function opened(uint256 seed) internal returns (Model storage m) {
        bool found;
        (found, m) = find(seed, Phase.Open, Phase.Open);
        if (found) return m;
        m = vacant(seed);
        heal();
        opens(m, stake(seed, "A"), stake(seed, "B"), false);
    }

    /// @dev In its window, or Open: it takes a newer state, and there is one that the honest side signed.
    function recording(uint256 seed) internal returns (Model storage m) {
        bool found;
        (found, m) = find(seed, Phase.Open, Phase.Disputed);
        if (!found || (phaseOf(m) == Phase.Disputed && mostSigned(m, true) <= m.stored.nonce)) m = opened(seed);
        if (mostSigned(m, true) <= m.stored.nonce) agrees(m, seed);
    }

    function runningOff(uint256 seed) internal returns (Model storage m) {
        bool found;
        (found, m) = find(seed, Phase.RunOff, Phase.RunOff);
        if (found) return m;
        (found, m) = find(seed, Phase.Disputed, Phase.Disputed);
        if (!found) {
            m = opened(seed);
            filesOnPositions(m, seed);
        }
        warpTo(m.stored.deadline);
    }

    /// @dev Files on a fresh, large and well-formed portfolio.
    function filesOnPositions(Model storage m, uint256 seed) internal {
        do {
            seed = next(seed, 0) | SOUND | LARGE;
        } while (draw(seed, "count", 4) == 0 || stale(seed));
        State memory state;
        if (m.honest == Party.None) {
            state = stateOf(m.terms, m.stored.nonce + 1, 0, portfolioOf(seed, time()));
        } else {
            agrees(m, seed);
            state = heldState(m);
        }
        filesAs(m, anySide(seed), state, seed);
    }

    /// @dev Somebody whose payout the hostile token has refused, and would not again.
    function refused(uint256 seed) internal returns (Party party) {
        party = anySide(seed);
        for (uint256 i; i < 2; ++i) {
            party = otherOf(party);
            if (adjudicator.claimable(address(_bad), addressOf(party)) == 0) continue;
            heal();
            return party;
        }
        Model storage m = _models[HOSTILE];
        heal();
        if (m.stored.phase == Phase.Closed) succeed(m);
        if (m.stored.phase == Phase.None) opens(m, stake(seed, "A"), stake(seed, "B"), false);
        _bad.setFault(HostileToken.Fault.Reverts, addressOf(party));
        closes(m, m.stored.nonce + 1, fairNet(m, seed));
        heal();
    }
}
