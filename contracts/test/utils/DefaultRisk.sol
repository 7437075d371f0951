// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RiskParams} from "../../src/risk/RiskTypes.sol";

/// @dev The design's default parameters of a feed.
function defaultRisk(bytes32 feed) pure returns (RiskParams memory) {
    return RiskParams({
        feed: feed,
        priceRange: 0.2e18,
        volUp: 0.45e18,
        volDown: 0.3e18,
        lookAhead: 2 days,
        calendar: 0.25e18,
        strike: 0.1e18,
        carryBase: 0.005e18,
        carrySlope: 0.03e18,
        shortMinimum: 0.01e18,
        imFactor: 1.25e18,
        shiftBase: 0.012e18,
        shiftPerRootHour: 0.025e18,
        runOffFactor: 2e18
    });
}
