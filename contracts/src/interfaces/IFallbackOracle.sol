// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IOracle} from "./IOracle.sol";

/// @title Oracle that asks a primary and, after a delay, a secondary.
/// @notice Each (feed, time) is settled once, by the first `record` that finds a price: the primary's if it is known
/// then; from `delay` after `time` on, else the secondary's. A last resort of either serves only if neither has a price
/// by the end of the grace.
/// A price that is still pending at a source cannot be seen from here. It does not block a last resort, but replaces it
/// once known, until that is final.
/// @dev A failing source counts as one that knows nothing, and only if it had the gas that a price may take.
interface IFallbackOracle is IOracle {
    /// @notice The settlement price of (feed, time) is known, for ever.
    event SettlementRecorded(bytes32 indexed feed, uint64 indexed time, uint128 price, bool byPrimary);
    /// @notice The last resort of (feed, time) is now this price (0 = never), final from `finalAt` on.
    event LastResortRecorded(bytes32 indexed feed, uint64 indexed time, uint128 price, uint256 finalAt);

    /// The two are the same, or one is zero.
    error InvalidSources();
    /// The grace is below three days, not a day above that of both sources, or not above the delay; or the spot's delay
    /// is above a day.
    error InvalidDelays();
    /// The price, or the last resort, is final.
    error AlreadyFinal();
    /// The primary has no price, and the secondary none or not its turn.
    error NoPriceYet();
    /// The grace has not passed yet.
    error GraceNotOver(uint256 until);
    /// One of the two has a price: record that.
    error PriceInSight();
    /// The recorded last resort is as good as any there is.
    error NoBetterResort();

    /// @notice Records the settlement price of (feed, time), if one of the two has it. Anyone may.
    /// @return price WAD.
    function record(bytes32 feed, uint64 time) external returns (uint256 price);

    /// @notice Who is asked first.
    function primary() external view returns (address);

    /// @notice Who is asked when the primary has nothing.
    function secondary() external view returns (address);

    /// @notice Seconds after a time from which the secondary's price is taken.
    function delay() external view returns (uint32);

    /// @notice Age in seconds from which the primary's spot gives way to a newer one of the secondary.
    function spotDelay() external view returns (uint32);
}
