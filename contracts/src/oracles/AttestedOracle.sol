// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {LibBit} from "solady/utils/LibBit.sol";
import {LibBitmap} from "solady/utils/LibBitmap.sol";

import {IAttestedOracle} from "../interfaces/IAttestedOracle.sol";
import {IOracle, Status} from "../interfaces/IOracle.sol";
import {Hashing} from "../libraries/Hashing.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {Signature} from "../libraries/Types.sol";

/// @title AttestedOracle: prices by k of n attesters, posted by whoever needs them.
/// @notice What each call does is documented in `IAttestedOracle`. No owner; attesters never change.
contract AttestedOracle is IAttestedOracle {
    using LibBitmap for LibBitmap.Bitmap;

    bytes32 internal constant SPOT_TYPEHASH = keccak256("Spot(bytes32 feed,uint64 observedAt,uint128 price)");
    bytes32 internal constant SETTLEMENT_TYPEHASH = keccak256("Settlement(bytes32 feed,uint64 at,uint128 price)");

    uint256 internal constant MAX_ATTESTERS = 32;
    uint256 internal constant HOUR = 1 hours;

    /// @notice A last resort is final this long after it was first recorded.
    uint256 internal constant LAST_RESORT_DELAY = 1 days;

    /// @dev Everything attested about one (type, feed, time). One word and one mapping.
    struct Round {
        /// Median of those that count; 0 while they are below the threshold.
        uint128 price;
        /// When those that count last became as many as the threshold; 0 while they are below it.
        uint64 reachedAt;
        /// Attesters heard, and those of them dropped: bit i is attester i.
        uint32 heard;
        uint32 dropped;
        mapping(uint256 index => uint256) prices;
    }

    /// @dev An observation: of a last resort, or the newest of an hour, or the newest of all.
    struct Observation {
        uint128 price;
        uint64 observedAt;
        /// When a last resort was first recorded; else 0.
        uint64 recordedAt;
    }

    /// @inheritdoc IAttestedOracle
    uint8 public immutable threshold;
    /// @inheritdoc IAttestedOracle
    uint32 public immutable challengeDelay;
    /// @inheritdoc IOracle
    uint32 public immutable grace;

    address[] private _attesters;
    /// @dev Place in `_attesters` + 1.
    mapping(address attester => uint256) private _places;
    mapping(bytes32 key => Round) private _rounds;
    mapping(bytes32 feed => Observation) private _newest;
    /// @dev By feed and hour, rounded up: the newest spot verified in (hour - 1, hour].
    mapping(bytes32 feed => mapping(uint256 hour => Observation)) private _newestOfHour;
    /// @dev Hours, rounded up, of which a spot or a settlement price was ever verified.
    mapping(bytes32 feed => LibBitmap.Bitmap) private _hours;
    mapping(bytes32 feed => mapping(uint64 time => Observation)) private _lastResorts;

    /// @param attesters_ at most 32, none twice. @param threshold_ how many must agree: k.
    /// @param challengeDelay_ seconds, at most a day. @param grace_ seconds, at least three days.
    constructor(address[] memory attesters_, uint8 threshold_, uint32 challengeDelay_, uint32 grace_) {
        uint256 count = attesters_.length;
        if (count == 0 || count > MAX_ATTESTERS) revert InvalidAttesters();
        if (threshold_ == 0 || threshold_ > count) revert InvalidThreshold();
        if (challengeDelay_ > 1 days || grace_ < 3 days) revert InvalidDelays();
        for (uint256 i; i < count; ++i) {
            address attester = attesters_[i];
            if (attester == address(0) || _places[attester] != 0) revert InvalidAttesters();
            _places[attester] = i + 1;
        }
        (_attesters, threshold, challengeDelay, grace) = (attesters_, threshold_, challengeDelay_, grace_);
    }

    // ---- submitting

    /// @inheritdoc IAttestedOracle
    function submitSpot(bytes32 feed, uint64 observedAt, uint128[] calldata prices, Signature[] calldata signatures)
        external
        returns (uint256 count)
    {
        bytes32 key = _key(SPOT_TYPEHASH, feed, observedAt);
        Round storage round = _rounds[key];
        count = _submit(round, key, SPOT_TYPEHASH, feed, observedAt, prices, signatures);
        emit SpotSubmitted(feed, observedAt, count, round.price);

        _keep(_newest[feed], observedAt, round.price);
        uint256 hour = (uint256(observedAt) + HOUR - 1) / HOUR;
        _keep(_newestOfHour[feed][hour], observedAt, round.price);
        if (round.price != 0) _hours[feed].set(hour);
    }

    /// @inheritdoc IAttestedOracle
    function submitSettlement(bytes32 feed, uint64 time, uint128[] calldata prices, Signature[] calldata signatures)
        external
        returns (uint256 count)
    {
        if (time % HOUR != 0) revert NotFullHour(time);
        (Status status,) = settlementPrice(feed, time);
        if (status != Status.Unset) revert AlreadyFinal();
        bytes32 key = _key(SETTLEMENT_TYPEHASH, feed, time);
        Round storage round = _rounds[key];
        count = _submit(round, key, SETTLEMENT_TYPEHASH, feed, time, prices, signatures);
        if (round.price != 0) _hours[feed].set(time / HOUR);
        emit SettlementSubmitted(
            feed, time, count, round.price, round.reachedAt == 0 ? 0 : uint256(round.reachedAt) + challengeDelay
        );
    }

    /// @inheritdoc IOracle
    function recordLastResort(bytes32 feed, uint64 time) external {
        if (time % HOUR != 0) revert NotFullHour(time);
        uint256 graceEnd = uint256(time) + grace;
        if (block.timestamp < graceEnd) revert GraceNotOver(graceEnd);
        if (_rounds[_key(SETTLEMENT_TYPEHASH, feed, time)].reachedAt != 0) revert PriceInSight();
        Observation storage recorded = _lastResorts[feed][time];
        bool first = recorded.recordedAt == 0;
        if (!first && _isFinal(recorded)) revert AlreadyFinal();
        (uint64 observedAt, uint128 price) = _lastVerified(feed, time);
        // Of the same round another median counts: it is that of more signatures, or of fewer liars.
        bool isNews = observedAt > recorded.observedAt || (observedAt == recorded.observedAt && price != recorded.price);
        if (!first && !isNews) revert NoNewerObservation(recorded.observedAt);

        if (first) recorded.recordedAt = uint64(block.timestamp);
        (recorded.price, recorded.observedAt) = (price, observedAt);
        emit LastResortRecorded(feed, time, observedAt, price, recorded.recordedAt + LAST_RESORT_DELAY);
    }

    // ---- views

    /// @inheritdoc IOracle
    function spot(bytes32 feed) external view returns (uint256 priceWad, uint256 updatedAt) {
        Observation storage newest = _newest[feed];
        return (newest.price, newest.observedAt);
    }

    /// @inheritdoc IOracle
    /// @dev A known price goes before a last resort: a settlement round that reached k while the last resort was not
    /// yet final blocks it, also while pending.
    function settlementPrice(bytes32 feed, uint64 time) public view returns (Status status, uint256 priceWad) {
        Round storage round = _rounds[_key(SETTLEMENT_TYPEHASH, feed, time)];
        if (round.reachedAt != 0) return _isKnown(round) ? (Status.Known, round.price) : (Status.Unset, 0);
        Observation storage resort = _lastResorts[feed][time];
        if (resort.recordedAt == 0 || !_isFinal(resort)) return (Status.Unset, 0);
        return resort.observedAt == 0 ? (Status.Never, 0) : (Status.LastResort, resort.price);
    }

    /// @inheritdoc IAttestedOracle
    function attesters() external view returns (address[] memory) {
        return _attesters;
    }

    /// @inheritdoc IAttestedOracle
    function lastResort(bytes32 feed, uint64 time)
        external
        view
        returns (uint64 observedAt, uint128 price, uint256 finalAt)
    {
        Observation storage resort = _lastResorts[feed][time];
        if (resort.recordedAt != 0) finalAt = resort.recordedAt + LAST_RESORT_DELAY;
        return (resort.observedAt, resort.price, finalAt);
    }

    /// @inheritdoc IAttestedOracle
    function domainSeparator() public view returns (bytes32) {
        return Hashing.domainSeparator("AttestedOracle", "1", address(this));
    }

    // ---- rounds

    function _key(bytes32 typeHash, bytes32 feed, uint256 time) private pure returns (bytes32) {
        return keccak256(abi.encode(typeHash, feed, time));
    }

    function _isKnown(Round storage round) private view returns (bool) {
        return round.reachedAt != 0 && block.timestamp >= uint256(round.reachedAt) + challengeDelay;
    }

    function _isFinal(Observation storage resort) private view returns (bool) {
        return block.timestamp >= resort.recordedAt + LAST_RESORT_DELAY;
    }

    /// @dev Keeps the newer of `newest` and a spot round. One that dropping took below the threshold has price 0: it
    /// replaces nothing but itself, and then serves as unknown until any round, newer or older, replaces it.
    function _keep(Observation storage newest, uint64 observedAt, uint128 price) private {
        bool replaces =
            price == 0 ? observedAt == newest.observedAt : observedAt >= newest.observedAt || newest.price == 0;
        if (replaces) (newest.price, newest.observedAt) = (price, observedAt);
    }

    /// @dev Adds to `round` what is new of these signatures and brings its median up to date.
    function _submit(
        Round storage round,
        bytes32 key,
        bytes32 typeHash,
        bytes32 feed,
        uint64 time,
        uint128[] calldata prices,
        Signature[] calldata signatures
    ) private returns (uint256 count) {
        if (prices.length != signatures.length || prices.length == 0) revert LengthMismatch();
        if (time > block.timestamp) revert InFuture(time);
        bytes32 separator = domainSeparator();
        uint256 heard = round.heard;
        uint256 dropped = round.dropped;
        for (uint256 i; i < prices.length; ++i) {
            uint256 price = prices[i];
            if (price == 0) revert ZeroPrice();
            bytes32 digest = Hashing.digest(separator, keccak256(abi.encode(typeHash, feed, time, price)));
            address signer = Signatures.recover(digest, signatures[i].r, signatures[i].vs);
            uint256 place = _places[signer];
            if (place == 0) revert UnknownAttester(signer);
            uint256 index = place - 1;
            uint256 bit = 1 << index;
            if (heard & bit == 0) {
                heard |= bit;
                round.prices[index] = price;
            } else if (dropped & bit == 0 && round.prices[index] != price) {
                dropped |= bit;
                emit AttesterDropped(key, signer);
            }
        }
        (round.heard, round.dropped) = (uint32(heard), uint32(dropped));
        uint256 counting = heard & ~dropped;
        count = LibBit.popCount(counting);
        if (count < threshold) {
            (round.price, round.reachedAt) = (0, 0);
        } else {
            round.price = _median(round, counting, count);
            if (round.reachedAt == 0) round.reachedAt = uint64(block.timestamp);
        }
    }

    /// @dev Median of the prices of the attesters in `counting`; of an even number the mean of the middle two, down.
    function _median(Round storage round, uint256 counting, uint256 count) private view returns (uint128) {
        uint256[] memory sorted = new uint256[](count);
        uint256 length;
        for (uint256 index; counting >> index != 0; ++index) {
            if (counting >> index & 1 == 0) continue;
            uint256 price = round.prices[index];
            uint256 place = length++;
            // Insertion: at most 32, mostly a handful.
            for (; place != 0 && sorted[place - 1] > price; --place) {
                sorted[place] = sorted[place - 1];
            }
            sorted[place] = price;
        }
        uint256 upper = sorted[count / 2];
        return uint128(count % 2 == 1 ? upper : (sorted[count / 2 - 1] + upper) / 2);
    }

    /// @dev The last price verified at or before the full hour `time`: a spot, or a settlement price that is known.
    /// Walks back over the hours that ever had one; (0, 0) if none has.
    function _lastVerified(bytes32 feed, uint64 time) private view returns (uint64 observedAt, uint128 price) {
        LibBitmap.Bitmap storage verified = _hours[feed];
        uint256 hour = time / HOUR;
        while (true) {
            hour = verified.findLastSet(hour);
            if (hour == LibBitmap.NOT_FOUND) return (0, 0);
            // The settlement price is as of the full hour, no spot filed under that hour is later.
            Round storage round = _rounds[_key(SETTLEMENT_TYPEHASH, feed, hour * HOUR)];
            if (_isKnown(round)) return (uint64(hour * HOUR), round.price);
            Observation storage newest = _newestOfHour[feed][hour];
            if (newest.price != 0) return (newest.observedAt, newest.price);
            if (hour == 0) return (0, 0);
            --hour;
        }
    }
}
