// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice What an oracle knows of the price at one time.
enum Status {
    /// Nothing stored (yet).
    Unset,
    /// The price, once and for ever.
    Known,
    /// No price was to be had; this is the last one verified before. Final.
    LastResort,
    /// Neither a price nor one before it. Final.
    Never
}

/// @title Prices of feeds, as channels need them.
/// @notice Prices are WAD (1e18 = 1.0). A price of 0, or of 2^128 or more, counts as unknown.
/// @dev The Adjudicator gives each call 50,000 gas and takes a failure for "unknown".
interface IOracle {
    /// @notice The newest price of `feed` and the time it was observed; (0, 0) if there is none.
    function spot(bytes32 feed) external view returns (uint256 priceWad, uint256 updatedAt);

    /// @notice The settlement price of `feed` at `time`: the 30-minute time-weighted average into it.
    /// @dev Returns only what an earlier call stored, and never changes its mind: once it is not `Unset` it stays as it
    /// is, the same for every channel.
    function settlementPrice(bytes32 feed, uint64 time) external view returns (Status status, uint256 priceWad);

    /// @notice Records the last price verified at or before `time`, or that there is none, for want of a settlement
    /// price. Anyone may call it once `grace` has passed since `time`; a later observation (still <= `time`) replaces an
    /// earlier one, and a day after the first call it is final. A known price, also one still pending, blocks it.
    function recordLastResort(bytes32 feed, uint64 time) external;

    /// @notice Seconds after a time from which its last resort may be recorded. Constant, at least three days.
    function grace() external view returns (uint32);
}
