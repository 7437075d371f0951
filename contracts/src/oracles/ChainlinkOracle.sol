// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AggregatorV3Interface} from "@chainlink/contracts/src/v0.8/shared/interfaces/AggregatorV3Interface.sol";
import {LibBitmap} from "solady/utils/LibBitmap.sol";

import {IAggregatorProxy} from "../interfaces/IAggregatorProxy.sol";
import {IChainlinkOracle} from "../interfaces/IChainlinkOracle.sol";
import {IOracle, Status} from "../interfaces/IOracle.sol";
import {GasCap} from "../libraries/GasCap.sol";

/// @title ChainlinkOracle: the average of Chainlink's rounds, proved on chain.
/// @notice What each call does is documented in `IChainlinkOracle`. No owner; feeds never change.
contract ChainlinkOracle is IChainlinkOracle {
    using LibBitmap for LibBitmap.Bitmap;

    uint256 internal constant HOUR = 1 hours;
    uint256 internal constant WINDOW = 30 minutes;
    /// @notice What the round live at the start may be older than a heartbeat: rounds arrive with blocks.
    uint256 internal constant LATENESS = 5 minutes;
    uint256 internal constant MAX_ROUNDS = 512;
    /// @notice How far ahead a successor is looked for: past three missing rounds.
    uint256 internal constant MAX_STEP = 4;
    /// @notice A last resort is final this long after it was recorded.
    uint256 internal constant LAST_RESORT_DELAY = 1 days;
    /// @notice How long the sequencer must be up again before spots serve: the time others need to act.
    uint256 internal constant SEQUENCER_GRACE = 1 hours;
    /// @notice Gas of reading one round. Several times what a proxy and its aggregator take.
    uint256 internal constant ROUND_GAS = 100_000;
    /// @notice What an uptime feed answers while the sequencer is up.
    int256 internal constant UP = 0;

    struct Source {
        address proxy;
        uint32 heartbeat;
        /// WAD per unit of answer.
        uint64 scale;
    }

    /// @dev `updatedAt` 0 = missing.
    struct Round {
        uint80 id;
        int256 answer;
        uint256 startedAt;
        uint256 updatedAt;
    }

    /// @dev The newest price verified at or before a time; `recordedAt` is when it became its last resort.
    struct Observation {
        uint128 price;
        uint64 observedAt;
        uint64 recordedAt;
    }

    /// @inheritdoc IOracle
    uint32 public immutable grace;
    /// @inheritdoc IChainlinkOracle
    address public immutable sequencerFeed;
    /// @dev Of the deployment. A search back through the hours ends there.
    uint256 private immutable _firstHour;

    mapping(bytes32 feed => Source) private _sources;
    mapping(bytes32 feed => mapping(uint64 time => uint128)) private _prices;
    /// @dev Hours, counted from the first, whose settlement price is recorded.
    mapping(bytes32 feed => LibBitmap.Bitmap) private _settledHours;
    mapping(bytes32 feed => mapping(uint64 time => Observation)) private _lastResorts;

    /// @param feeds whom to ask for what. @param sequencerFeed_ zero on a chain without a sequencer.
    /// @param grace_ seconds, at least three days.
    constructor(Feed[] memory feeds, address sequencerFeed_, uint32 grace_) {
        if (feeds.length == 0) revert InvalidFeeds();
        if (grace_ < 3 days) revert InvalidGrace();
        for (uint256 i; i < feeds.length; ++i) {
            Feed memory feed = feeds[i];
            if (feed.proxy == address(0) || _sources[feed.feed].proxy != address(0)) revert InvalidFeeds();
            if (feed.heartbeat == 0 || feed.heartbeat > 7 days) revert InvalidFeeds();
            uint8 decimals = AggregatorV3Interface(feed.proxy).decimals();
            if (decimals > 18) revert InvalidFeeds();
            _sources[feed.feed] = Source(feed.proxy, feed.heartbeat, uint64(10 ** (18 - decimals)));
        }
        (sequencerFeed, grace, _firstHour) = (sequencerFeed_, grace_, block.timestamp / HOUR);
    }

    // ---- recording

    /// @inheritdoc IChainlinkOracle
    function recordSettlement(bytes32 feed, uint64 time, uint80 first, uint80[] calldata older, uint80 sequencerRound)
        external
        returns (uint256 price)
    {
        Source memory from = _openFor(feed, time);
        if (block.timestamp <= time) revert WindowNotOver(time);
        uint256 start = time - WINDOW;
        if (sequencerFeed != address(0)) _requireSequencerUp(sequencerRound, start, time);
        _requireOldest(from, first, older, start);
        (Round memory live, Round memory next) = _liveAt(from.proxy, first, start);
        if (_isStale(from, live, start)) revert TooOld(first, live.updatedAt);

        uint128 average = _average(from, live, next, start);
        _settle(feed, time, average);
        return average;
    }

    /// @inheritdoc IChainlinkOracle
    function verifyRound(bytes32 feed, uint64 time, uint80 round) external {
        Source memory from = _openFor(feed, time);
        Round memory given = _round(from.proxy, round);
        if (given.updatedAt == 0 || given.updatedAt > time) revert NotBefore(round, time);
        Observation storage newest = _lastResorts[feed][time];
        if (given.updatedAt <= newest.observedAt) revert NoNewerObservation(newest.observedAt);
        uint128 price = _wad(from, given);
        (newest.price, newest.observedAt) = (price, uint64(given.updatedAt));
        emit RoundVerified(feed, time, round, uint64(given.updatedAt), price);
    }

    /// @inheritdoc IOracle
    /// @dev The last price *verified*: bring it with `verifyRound`, before this or up to a day after. Settlement prices
    /// recorded for earlier times count by themselves.
    function recordLastResort(bytes32 feed, uint64 time) external {
        _requireOpen(feed, time);
        uint256 graceEnd = uint256(time) + grace;
        if (block.timestamp < graceEnd) revert GraceNotOver(graceEnd);
        Observation storage newest = _lastResorts[feed][time];
        uint64 settledAt = _lastSettled(feed, time);
        bool isNewer = settledAt > newest.observedAt;
        if (isNewer) (newest.price, newest.observedAt) = (_prices[feed][settledAt], settledAt);
        if (newest.recordedAt == 0) newest.recordedAt = uint64(block.timestamp);
        else if (!isNewer) revert NoNewerObservation(newest.observedAt);
        emit LastResortRecorded(feed, time, newest.observedAt, newest.price, newest.recordedAt + LAST_RESORT_DELAY);
    }

    // ---- views

    /// @inheritdoc IOracle
    function spot(bytes32 feed) external view returns (uint256 priceWad, uint256 updatedAt) {
        Source memory from = _sources[feed];
        if (from.proxy == address(0) || !_sequencerServes()) return (0, 0);
        int256 answer;
        (, answer,, updatedAt,) = AggregatorV3Interface(from.proxy).latestRoundData();
        priceWad = _wadOrZero(from, answer);
        if (priceWad == 0 || updatedAt > block.timestamp) return (0, 0);
    }

    /// @inheritdoc IOracle
    function settlementPrice(bytes32 feed, uint64 time) public view returns (Status status, uint256 priceWad) {
        uint256 price = _prices[feed][time];
        if (price != 0) return (Status.Known, price);
        Observation storage resort = _lastResorts[feed][time];
        uint256 recordedAt = resort.recordedAt;
        if (recordedAt == 0 || block.timestamp < recordedAt + LAST_RESORT_DELAY) return (Status.Unset, 0);
        return resort.observedAt == 0 ? (Status.Never, 0) : (Status.LastResort, resort.price);
    }

    /// @inheritdoc IChainlinkOracle
    function source(bytes32 feed) external view returns (address proxy, uint32 heartbeat) {
        return (_sources[feed].proxy, _sources[feed].heartbeat);
    }

    /// @inheritdoc IChainlinkOracle
    function lastResort(bytes32 feed, uint64 time)
        external
        view
        returns (uint64 observedAt, uint128 price, uint256 finalAt)
    {
        Observation storage newest = _lastResorts[feed][time];
        if (newest.recordedAt != 0) finalAt = newest.recordedAt + LAST_RESORT_DELAY;
        return (newest.observedAt, newest.price, finalAt);
    }

    // ---- the average

    /// @dev The average over the window from `start`, of `live` and all its successors up to the window's end.
    function _average(Source memory from, Round memory live, Round memory next, uint256 start)
        private
        view
        returns (uint128)
    {
        uint256 end = start + WINDOW;
        uint256 since = start;
        uint256 price = _wad(from, live);
        uint256 sum; // below 2^128 x 1,800
        for (uint256 count; next.updatedAt != 0 && next.updatedAt <= end; ++count) {
            if (count == MAX_ROUNDS) revert TooManyRounds();
            if (next.updatedAt < since) revert OutOfOrder(next.id);
            sum += price * (next.updatedAt - since);
            (since, price) = (next.updatedAt, _wad(from, next));
            next = _next(from.proxy, next.id);
        }
        // Rounds after the window prove that none is missing from it; only a phase that was replaced may have none.
        if (next.updatedAt == 0 && IAggregatorProxy(from.proxy).phaseId() <= _phase(live.id)) {
            revert WindowNotOver(end);
        }
        sum += price * (end - since);
        return uint128(sum / WINDOW);
    }

    /// @dev Requires of every phase before that of `first` that at `time` it was not live, or stale.
    function _requireOldest(Source memory from, uint80 first, uint80[] calldata older, uint256 time) private view {
        if (older.length + 1 != _phase(first)) revert PhasesIncomplete();
        for (uint256 i; i < older.length; ++i) {
            uint80 id = older[i];
            if (_phase(id) != i + 1) revert PhasesIncomplete();
            // Its first round is later than `time`, or there is none.
            if (uint64(id) == 0) _requireNoneBy(from.proxy, id, time);
            else if (!_isStale(from, _requireLive(from.proxy, id, time), time)) revert OlderPhaseServes(id);
        }
    }

    /// @dev Requires that the sequencer was up all through [start, end].
    function _requireSequencerUp(uint80 id, uint256 start, uint256 end) private view {
        // The last round of a phase that was replaced says nothing of what came after.
        if (_phase(id) != IAggregatorProxy(sequencerFeed).phaseId()) revert SequencerDown(id);
        Round memory round = _round(sequencerFeed, id);
        if (round.updatedAt == 0 || round.startedAt == 0 || round.startedAt > start) revert SequencerDown(id);
        for (uint256 count; round.updatedAt != 0 && round.startedAt <= end; ++count) {
            if (count == MAX_ROUNDS) revert TooManyRounds();
            // A successor that is up may follow one that was.
            if (round.answer != UP) revert SequencerDown(round.id);
            round = _next(sequencerFeed, round.id);
        }
    }

    /// @dev Whether a spot may be trusted: no sequencer, or one that has been up for a while.
    function _sequencerServes() private view returns (bool) {
        if (sequencerFeed == address(0)) return true;
        (, int256 answer, uint256 startedAt,,) = AggregatorV3Interface(sequencerFeed).latestRoundData();
        return answer == UP && startedAt != 0 && block.timestamp >= startedAt + SEQUENCER_GRACE;
    }

    // ---- rounds

    function _phase(uint80 id) private pure returns (uint256) {
        return id >> 64;
    }

    function _isStale(Source memory from, Round memory live, uint256 time) private pure returns (bool) {
        return live.updatedAt + from.heartbeat + LATENESS < time;
    }

    /// @dev The round `id`, required to be live at `time`, and its successor.
    function _liveAt(address proxy, uint80 id, uint256 time)
        private
        view
        returns (Round memory live, Round memory next)
    {
        live = _round(proxy, id);
        if (live.updatedAt == 0 || live.updatedAt > time) revert NotLive(id, time);
        next = _requireNoneBy(proxy, id, time);
    }

    function _requireLive(address proxy, uint80 id, uint256 time) private view returns (Round memory live) {
        (live,) = _liveAt(proxy, id, time);
    }

    /// @dev The successor of `id`, required to be missing or later than `time`.
    function _requireNoneBy(address proxy, uint80 id, uint256 time) private view returns (Round memory next) {
        next = _next(proxy, id);
        if (next.updatedAt != 0 && next.updatedAt <= time) revert NotLive(id, time);
    }

    /// @dev The first round after `id` in its phase, a few missing ones skipped; missing if there is none (yet).
    function _next(address proxy, uint80 id) private view returns (Round memory next) {
        for (uint256 step = 1; step <= MAX_STEP && uint64(id) + step <= type(uint64).max; ++step) {
            next = _round(proxy, id + uint80(step));
            if (next.updatedAt != 0) break;
        }
    }

    /// @dev A round read through its proxy. A failure counts as missing, and only if the proxy had its whole gas cap:
    /// else whoever calls could make any round go missing.
    function _round(address proxy, uint80 id) private view returns (Round memory round) {
        GasCap.ensure(ROUND_GAS);
        bytes memory input = abi.encodeCall(AggregatorV3Interface.getRoundData, (id));
        (uint256 cap, bool success) = (ROUND_GAS, false);
        round.id = id;
        assembly ("memory-safe") {
            let answer := mload(0x40)
            success := staticcall(cap, proxy, add(input, 0x20), mload(input), answer, 0xa0)
            if and(success, gt(returndatasize(), 0x9f)) {
                // Words 1 to 3 of the answer into members 1 to 3.
                mcopy(add(round, 0x20), add(answer, 0x20), 0x60)
            }
        }
    }

    /// @dev WAD price of a round, or a revert.
    function _wad(Source memory from, Round memory round) private pure returns (uint128) {
        uint256 price = _wadOrZero(from, round.answer);
        if (price == 0) revert InvalidAnswer(round.id, round.answer);
        return uint128(price);
    }

    /// @dev WAD price of an answer; 0 if it is no price.
    function _wadOrZero(Source memory from, int256 answer) private pure returns (uint256) {
        if (answer <= 0 || uint256(answer) > type(uint128).max) return 0;
        uint256 price = uint256(answer) * from.scale; // below 2^128 x 2^60
        return price > type(uint128).max ? 0 : price;
    }

    // ---- what is recorded

    function _settle(bytes32 feed, uint64 time, uint128 price) private {
        _prices[feed][time] = price;
        uint256 hour = time / HOUR;
        if (hour >= _firstHour) _settledHours[feed].set(hour - _firstHour);
        emit SettlementRecorded(feed, time, price);
    }

    /// @dev The last full hour up to `time`, since the deployment, whose settlement price is recorded; 0 if there is none.
    function _lastSettled(bytes32 feed, uint64 time) private view returns (uint64) {
        uint256 hour = time / HOUR;
        if (hour < _firstHour) return 0;
        uint256 found = _settledHours[feed].findLastSet(hour - _firstHour);
        return found == LibBitmap.NOT_FOUND ? 0 : uint64((_firstHour + found) * HOUR);
    }

    /// @dev Requires a full hour without a final price.
    function _requireOpen(bytes32 feed, uint64 time) private view {
        if (time == 0 || time % HOUR != 0) revert NotFullHour(time);
        (Status status,) = settlementPrice(feed, time);
        if (status != Status.Unset) revert AlreadyFinal();
    }

    /// @dev The same, of a feed that is served.
    function _openFor(bytes32 feed, uint64 time) private view returns (Source memory from) {
        from = _sources[feed];
        if (from.proxy == address(0)) revert UnknownFeed(feed);
        _requireOpen(feed, time);
    }
}
