// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Position, Spot} from "../libraries/Types.sol";
import {Margins, RiskParams, Scenario} from "./RiskTypes.sol";

/// @notice The pricing and margin arithmetic of the channels: what the parties compute off chain, computed again to the
/// same last digit. Stateless: everything comes as arguments, nothing is remembered, nobody is trusted.
///
/// Positions stand in canonical order (feed, expiry, kind, strike), one a series; spots and parameters in the order of
/// their feeds. `side` is 1 for party A, -1 for party B. Amounts are collateral base units, `unit` of them for 1.0 of
/// price. What is required rounds up, what is paid and what counts as equity rounds down.
///
/// Positions that have expired at `time` take no part but in `margins`: the caller counts them at their settlement price.
///
/// @dev Reverts with `PricingDomainError` for figures outside the engine's domain (docs/explanation/pricing.md).
interface IRiskEngine {
    /// Positions are not in canonical order, or two are of one series.
    error PositionsOutOfOrder(uint256 index);
    /// Spots or parameters are not in the order of their feeds, or two are of one feed.
    error FeedsOutOfOrder(uint256 index);
    /// A feed with positions has no spot.
    error NoSpot(bytes32 feed);
    /// A feed with positions has no margin parameters.
    error NoRiskParams(bytes32 feed);
    /// A margin parameter is outside the bounds every channel keeps to; `index` counts the members after the feed.
    error RiskParamOutOfBounds(bytes32 feed, uint256 index, uint256 value);
    /// The feed has no such scenario, or there is not one scenario for each feed with open positions.
    error NoSuchScenario(bytes32 feed);
    /// Neither 1 (party A) nor -1 (party B), nor 0 where that is allowed.
    error InvalidSide(int256 side);

    /// @notice What the terms' `riskHash` commits to.
    /// @dev Reverts if a parameter is out of bounds or the feeds are out of order.
    function riskHash(RiskParams[] calldata risk) external pure returns (bytes32);

    /// @notice Both parties' margins at time `time`, at the vols signed: what a state marked at `time` must carry.
    /// @dev Positions that have expired count at their payoff at the spot.
    function margins(
        Position[] calldata positions,
        Spot[] calldata spots,
        RiskParams[] calldata risk,
        uint256 unit,
        uint256 time
    ) external pure returns (Margins memory);

    /// @notice Value of the open positions to a party and its maintenance margin, as a margin call decides: vols shifted
    /// in its favour by the marks' age. The party is short if its cash and the value are below the margin.
    /// @param scenarios one for each feed with open positions, in their order: the margin is then what these and the
    /// short minimum show, never more than the full one. Empty: the full one.
    function assess(
        Position[] calldata positions,
        Spot[] calldata spots,
        RiskParams[] calldata risk,
        uint256 unit,
        uint256 markedAt,
        uint256 time,
        int256 side,
        Scenario[] calldata scenarios
    ) external pure returns (int256 value, uint256 maintenance);

    /// @notice What A receives (+) or pays (-) for the open positions when `called` has defaulted: vols shifted against
    /// it, or left as signed if it is 0 (neither party: both were called). Before any clamp or penalty.
    function closeOutValue(
        Position[] calldata positions,
        Spot[] calldata spots,
        RiskParams[] calldata risk,
        uint256 unit,
        uint256 markedAt,
        uint256 time,
        int256 called
    ) external pure returns (int256);

    /// @notice The cash a party must leave in while its positions run off.
    function runOffLock(
        Position[] calldata positions,
        Spot[] calldata spots,
        RiskParams[] calldata risk,
        uint256 unit,
        uint256 time,
        int256 side
    ) external pure returns (uint256);
}
