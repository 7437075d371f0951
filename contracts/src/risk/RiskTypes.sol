// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice Margin parameters of one feed, an EIP-712 type of the domain `OptionChannels` / `1`. Fractions in WAD,
/// `lookAhead` in seconds. `riskHash` of the terms is the hash of their array, sorted by feed.
struct RiskParams {
    bytes32 feed;
    uint64 priceRange;
    uint64 volUp;
    uint64 volDown;
    uint64 lookAhead;
    uint64 calendar;
    uint64 strike;
    uint64 carryBase;
    uint64 carrySlope;
    uint64 shortMinimum;
    uint64 imFactor;
    uint64 shiftBase;
    uint64 shiftPerRootHour;
    uint64 runOffFactor;
}

/// @notice A scenario of one feed, by name.
struct Scenario {
    /// 0 = of the grid; n = of the feed's n-th node, the one nearest to its forward first.
    uint8 node;
    /// Of the grid 0 to 17 in SPAN's order; of a node 0 vol up, 1 vol down, 2 (digitals) vol down just below the strike.
    uint8 number;
    /// Only the positions that outlive the look-ahead count.
    bool outliving;
}

/// @notice Both parties' requirements and the values they rest on, in collateral base units.
struct Margins {
    uint256 initialA;
    uint256 initialB;
    uint256 maintenanceA;
    uint256 maintenanceB;
    int256 valueA;
    int256 valueB;
}

/// @notice A series at its marks, and how much of it A holds.
struct Series {
    uint256 kind;
    uint256 strike;
    int256 quantity;
    uint256 forward;
    /// ln(forward / strike), Q96.
    int256 log;
    uint256 vol;
    /// Price of one unit, WAD.
    int256 value;
}

/// @notice Positions of one feed and expiry: they settle at one price.
struct Bucket {
    uint256 tau;
    /// Root of `tau` in years, and of what is left of it after the look-ahead, Q96.
    uint256 root;
    uint256 later;
    /// By how much vol scenarios grow towards expiry, WAD.
    uint256 growth;
    bool outlives;
    Series[] series;
    /// Value to A, WAD x WAD.
    int256 worth;
}

/// @notice A move of a feed: every forward is multiplied by numerator / denominator, whose logarithm is `log`, Q96.
struct Move {
    uint256 numerator;
    uint256 denominator;
    int256 log;
    /// Its scenarios, in this order: bit 0 vol up, bit 1 vol down with the look-ahead gone by, bit 2 nothing else.
    uint256 modes;
}

/// @notice All moves of a feed: those of the grid, then those to its nodes, strikes near expiry.
struct Moves {
    Move[] list;
    /// Where each node's moves begin in `list`, and its length.
    uint256[] starts;
    /// Number of scenarios of all moves.
    uint256 scenarios;
}

/// @notice Sums behind a requirement, quantity times value in WAD x WAD, seen from A.
struct Tally {
    /// Change of value by scenario, of the positions that end within the look-ahead and of those that outlive it.
    int256[] near;
    int256[] far;
    /// Changes with vol up: magnitudes by position, magnitudes by expiry, and all of them net.
    uint256 gross;
    uint256 within;
    int256 net;
    /// Magnitudes by expiry of the changes with a rise of the carry.
    uint256 carry;
    /// Quantities by kind, of what has not expired.
    int256[5] quantities;
    int256 worth;
}
