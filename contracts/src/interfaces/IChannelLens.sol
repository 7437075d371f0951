// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RiskParams} from "../risk/RiskTypes.sol";
import {Party, Phase, Portfolio, Terms} from "../libraries/Types.sol";
import {IAdjudicator} from "./IAdjudicator.sol";

/// @notice Where both parties stand, in collateral base units.
struct Standing {
    /// What A has paid B net, once everything that has expired is settled.
    int256 netToB;
    /// What each would be paid if the channel ended with the open positions worth nothing.
    uint256 cashA;
    uint256 cashB;
    /// Cash, unclamped, and value of the open positions at the oracle's spot and the vols signed.
    int256 equityA;
    int256 equityB;
    uint256 initialA;
    uint256 initialB;
    uint256 maintenanceA;
    uint256 maintenanceB;
}

/// @notice The present or next time at which a call is possible: from `from` on and before `until`. Both 0 = not at all,
/// `until` 0 = for as long as the channel lasts. Another such time may follow: ask again then.
struct Span {
    uint256 from;
    uint256 until;
}

/// @notice What can be called on a channel, and when, if nothing else happens meanwhile. What also hangs on signatures,
/// prices or portfolios is said to be possible.
struct Agenda {
    /// The phase that counts now.
    Phase phase;
    Span open;
    Span depositA;
    Span depositB;
    /// `checkpoint`, `checkpointMany`, and `dispute` or `disputeFor` where they act as these.
    Span checkpoint;
    Span withdraw;
    /// The call that starts the window.
    Span dispute;
    Span close;
    Span settle;
    Span callMarginA;
    Span callMarginB;
    Span closeOutA;
    Span closeOutB;
    Span releaseA;
    Span releaseB;
    Span abandon;
}

/// @title What clients ask before they call: read-only, stateless, nothing depends on it.
/// @notice Kept out of the Adjudicator, whose code is bounded. Reverts as the Adjudicator does where a figure needs a price
/// that the oracle does not have.
interface IChannelLens {
    /// @notice The contract looked at.
    function adjudicator() external view returns (IAdjudicator);

    /// @notice What can be called on the channel of `terms` and when.
    function agenda(Terms calldata terms) external view returns (Agenda memory);

    /// @notice Where both would stand now under `portfolio`: the one recorded, or any newer one a client holds.
    function standing(Terms calldata terms, RiskParams[] calldata risk, Portfolio calldata portfolio)
        external
        view
        returns (Standing memory);

    /// @notice What `callMargin` would compare now if `portfolio` were recorded: equity and the whole maintenance margin of
    /// `party`, at the oracle's spot and at vols shifted in its favour. It is short if equity is below the margin.
    function shortfall(Terms calldata terms, RiskParams[] calldata risk, Portfolio calldata portfolio, Party party)
        external
        view
        returns (int256 equity, uint256 maintenance);
}
