// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IFallbackOracle} from "../interfaces/IFallbackOracle.sol";
import {IOracle, Status} from "../interfaces/IOracle.sol";
import {OracleReader} from "../libraries/OracleReader.sol";

/// @title FallbackOracle: a primary oracle, and a secondary where it stays silent.
/// @notice What each call does is documented in `IFallbackOracle`. No owner; the sources never change.
contract FallbackOracle is IFallbackOracle {
    /// @notice A last resort is final this long after it was first recorded.
    uint256 internal constant LAST_RESORT_DELAY = 1 days;

    /// @notice Gas of the primary's spot. Of the 50,000 a channel gives for a spot this leaves the secondary as much.
    uint256 internal constant SPOT_GAS = 20_000;

    /// @dev What is recorded, the better above the worse.
    enum Rank {
        Nothing,
        Never,
        SecondaryResort,
        PrimaryResort,
        Known
    }

    struct Record {
        uint128 price;
        /// Of the first last resort.
        uint64 recordedAt;
        Rank rank;
    }

    /// @inheritdoc IFallbackOracle
    address public immutable primary;
    /// @inheritdoc IFallbackOracle
    address public immutable secondary;
    /// @inheritdoc IFallbackOracle
    uint32 public immutable delay;
    /// @inheritdoc IFallbackOracle
    uint32 public immutable spotDelay;
    /// @inheritdoc IOracle
    uint32 public immutable grace;

    mapping(bytes32 feed => mapping(uint64 time => Record)) private _records;

    /// @param delay_ seconds. @param spotDelay_ seconds, at most a day.
    /// @param grace_ seconds, at least a day above that of either source: by then their last resorts can be final.
    constructor(address primary_, address secondary_, uint32 delay_, uint32 spotDelay_, uint32 grace_) {
        if (primary_ == secondary_ || primary_ == address(0) || secondary_ == address(0)) revert InvalidSources();
        uint256 least = OracleReader.grace(primary_) + LAST_RESORT_DELAY;
        uint256 other = OracleReader.grace(secondary_) + LAST_RESORT_DELAY;
        if (grace_ < 3 days || grace_ < least || grace_ < other || grace_ <= delay_ || spotDelay_ > 1 days) {
            revert InvalidDelays();
        }
        (primary, secondary, delay, spotDelay, grace) = (primary_, secondary_, delay_, spotDelay_, grace_);
    }

    /// @inheritdoc IFallbackOracle
    function record(bytes32 feed, uint64 time) external returns (uint256 price) {
        Record storage kept = _notFinal(feed, time);
        Status status;
        (status, price) = OracleReader.settlement(primary, feed, time);
        bool byPrimary = status == Status.Known;
        if (!byPrimary) {
            if (block.timestamp < uint256(time) + delay) revert NoPriceYet();
            (status, price) = OracleReader.settlement(secondary, feed, time);
            if (status != Status.Known) revert NoPriceYet();
        }
        (kept.price, kept.rank) = (uint128(price), Rank.Known);
        emit SettlementRecorded(feed, time, uint128(price), byPrimary);
    }

    /// @inheritdoc IOracle
    /// @dev The primary's goes before the secondary's, either before `never`.
    function recordLastResort(bytes32 feed, uint64 time) external {
        Record storage kept = _notFinal(feed, time);
        uint256 graceEnd = uint256(time) + grace;
        if (block.timestamp < graceEnd) revert GraceNotOver(graceEnd);
        (Status first, uint256 price) = OracleReader.settlement(primary, feed, time);
        (Status second, uint256 otherPrice) = OracleReader.settlement(secondary, feed, time);
        if (first == Status.Known || second == Status.Known) revert PriceInSight();

        Rank rank = Rank.PrimaryResort;
        if (first != Status.LastResort) {
            (rank, price) = second == Status.LastResort ? (Rank.SecondaryResort, otherPrice) : (Rank.Never, 0);
        }
        if (rank <= kept.rank) revert NoBetterResort();
        if (kept.rank == Rank.Nothing) kept.recordedAt = uint64(block.timestamp);
        (kept.price, kept.rank) = (uint128(price), rank);
        emit LastResortRecorded(feed, time, uint128(price), kept.recordedAt + LAST_RESORT_DELAY);
    }

    /// @inheritdoc IOracle
    function spot(bytes32 feed) external view returns (uint256 priceWad, uint256 updatedAt) {
        (priceWad, updatedAt) = OracleReader.spot(primary, feed, SPOT_GAS);
        if (priceWad != 0 && block.timestamp <= updatedAt + spotDelay) return (priceWad, updatedAt);
        // Uncapped and not tolerated: a secondary that fails here makes the spot unknown.
        (uint256 price, uint256 time) = IOracle(secondary).spot(feed);
        if (priceWad == 0 || (price != 0 && time > updatedAt)) return (price, time);
    }

    /// @inheritdoc IOracle
    function settlementPrice(bytes32 feed, uint64 time) public view returns (Status status, uint256 priceWad) {
        Record memory kept = _records[feed][time];
        if (kept.rank == Rank.Known) return (Status.Known, kept.price);
        if (kept.rank == Rank.Nothing || block.timestamp < kept.recordedAt + LAST_RESORT_DELAY) {
            return (Status.Unset, 0);
        }
        return kept.rank == Rank.Never ? (Status.Never, 0) : (Status.LastResort, kept.price);
    }

    function _notFinal(bytes32 feed, uint64 time) private view returns (Record storage) {
        (Status status,) = settlementPrice(feed, time);
        if (status != Status.Unset) revert AlreadyFinal();
        return _records[feed][time];
    }
}
