// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Position, Spot} from "./libraries/Types.sol";
import {Black76} from "./risk/Black76.sol";
import {IRiskEngine} from "./risk/IRiskEngine.sol";
import {Requirement} from "./risk/Requirement.sol";
import {RiskArrays} from "./risk/RiskArrays.sol";
import {RiskMoves} from "./risk/RiskMoves.sol";
import {RiskHashing} from "./risk/RiskHashing.sol";
import {Bucket, Margins, Move, Moves, RiskParams, Scenario, Series, Tally} from "./risk/RiskTypes.sol";
import {ScenarioPrice} from "./risk/ScenarioPrice.sol";

/// @notice The pricing and margin arithmetic of the channels, bit for bit that of `channels.pricing`.
contract RiskEngine is IRiskEngine {
    /// @dev One call's arguments and running sums, so that functions take one argument instead of ten.
    struct Context {
        uint256 unit;
        uint256 time;
        /// Root of the marks' age in hours, WAD.
        uint256 rootHours;
        /// In whose favour vols are shifted: 1 A, -1 B, 0 nobody's.
        int256 favoured;
        /// Whether positions that have expired take part.
        bool withExpired;
        /// First position of the next feed.
        uint256 next;
        bytes32 feed;
        uint256 spot;
        /// Index of the feed's parameters.
        uint256 params;
    }

    /// @dev Sums of one party.
    struct Sums {
        uint256 initial;
        uint256 maintenance;
        uint256 losses;
        bool unbounded;
    }

    /// @inheritdoc IRiskEngine
    function riskHash(RiskParams[] calldata risk) external pure returns (bytes32) {
        RiskHashing.check(risk);
        return RiskHashing.hash(risk);
    }

    /// @inheritdoc IRiskEngine
    function margins(
        Position[] calldata positions,
        Spot[] calldata spots,
        RiskParams[] calldata risk,
        uint256 unit,
        uint256 time
    ) external pure returns (Margins memory result) {
        Context memory context = _context(positions, spots, risk, unit, time);
        context.withExpired = true;
        Sums memory ofA;
        Sums memory ofB;
        int256 worth;
        while (true) {
            Bucket[] memory buckets = _nextFeed(context, positions, spots, risk);
            if (buckets.length == 0) break;
            Tally memory tally = _tally(buckets, risk[context.params]);
            worth += tally.worth;
            _require(ofA, tally, buckets, context, risk, 1);
            _require(ofB, tally, buckets, context, risk, -1);
        }
        (result.valueA, result.initialA, result.maintenanceA) = _settled(ofA, worth, unit);
        (result.valueB, result.initialB, result.maintenanceB) = _settled(ofB, -worth, unit);
    }

    /// @inheritdoc IRiskEngine
    function assess(
        Position[] calldata positions,
        Spot[] calldata spots,
        RiskParams[] calldata risk,
        uint256 unit,
        uint256 markedAt,
        uint256 time,
        int256 side,
        Scenario[] calldata scenarios
    ) external pure returns (int256 value, uint256 maintenance) {
        Context memory context = _context(positions, spots, risk, unit, time);
        _shifts(context, markedAt, side);
        Sums memory sums;
        int256 worth;
        uint256 feeds;
        while (true) {
            Bucket[] memory buckets = _nextFeed(context, positions, spots, risk);
            if (buckets.length == 0) break;
            if (scenarios.length == 0) {
                Tally memory tally = _tally(buckets, risk[context.params]);
                worth += tally.worth;
                _require(sums, tally, buckets, context, risk, side);
            } else {
                if (feeds == scenarios.length) revert NoSuchScenario(context.feed);
                worth += _worth(buckets);
                sums.maintenance += _shown(buckets, context, risk[context.params], side, scenarios[feeds]);
                _addLosses(sums, buckets, unit, side);
            }
            ++feeds;
        }
        if (scenarios.length > 0 && feeds != scenarios.length) revert NoSuchScenario(0);
        (value,, maintenance) = _settled(sums, side * worth, unit);
    }

    /// @inheritdoc IRiskEngine
    function closeOutValue(
        Position[] calldata positions,
        Spot[] calldata spots,
        RiskParams[] calldata risk,
        uint256 unit,
        uint256 markedAt,
        uint256 time,
        int256 called
    ) external pure returns (int256) {
        Context memory context = _context(positions, spots, risk, unit, time);
        if (called != 0) _shifts(context, markedAt, -called);
        int256 worth;
        while (true) {
            Bucket[] memory buckets = _nextFeed(context, positions, spots, risk);
            if (buckets.length == 0) break;
            worth += _worth(buckets);
        }
        // Both roundings are looked at, as off chain: a value that fits 128 bits one way only is refused.
        int256 toA = Requirement.unitsDown(worth, unit);
        int256 toB = Requirement.unitsDown(-worth, unit);
        return worth >= 0 ? toA : -toB;
    }

    /// @inheritdoc IRiskEngine
    function runOffLock(
        Position[] calldata positions,
        Spot[] calldata spots,
        RiskParams[] calldata risk,
        uint256 unit,
        uint256 time,
        int256 side
    ) external pure returns (uint256 total) {
        Context memory context = _context(positions, spots, risk, unit, time);
        _checkSide(side);
        while (true) {
            Bucket[] memory buckets = _nextFeed(context, positions, spots, risk);
            if (buckets.length == 0) break;
            RiskParams calldata params = risk[context.params];
            // Most buckets outlive the look-ahead and have no nodes: they share the grid.
            Moves memory grid = RiskMoves.moves(new Bucket[](0), params.priceRange);
            Tally memory shared = RiskArrays.empty(grid);
            for (uint256 i = 0; i < buckets.length; ++i) {
                if (buckets[i].outlives) {
                    RiskArrays.clear(shared);
                    RiskArrays.add(shared, buckets[i], grid, params);
                    total += _locked(buckets[i], shared, params, context, side);
                } else {
                    Bucket[] memory alone = new Bucket[](1);
                    alone[0] = buckets[i];
                    total += _locked(buckets[i], _tally(alone, params), params, context, side);
                }
            }
        }
        if (total > type(uint128).max) revert Black76.PricingDomainError();
    }

    /// @dev What one bucket locks: what the party would owe for it and some initial margins of it alone, but no more than
    /// it can cost.
    function _locked(
        Bucket memory bucket,
        Tally memory tally,
        RiskParams calldata params,
        Context memory context,
        int256 side
    ) private pure returns (uint256 lock) {
        uint256 margin = Requirement.maintenance(tally, params, context.spot, side);
        margin = Requirement.scaledUp(params.imFactor, margin);
        uint256 need = Requirement.scaledUp(params.runOffFactor, margin);
        int256 owed = -side * tally.worth;
        if (owed > 0) need += uint256(owed);
        (bool bounded, uint256 loss) = Requirement.largestLoss(bucket, context.unit, side);
        lock = Requirement.unitsUp(need, context.unit);
        if (bounded && loss < lock) lock = loss;
        if (lock > type(uint128).max) revert Black76.PricingDomainError();
    }

    // ---- feeds

    function _context(
        Position[] calldata positions,
        Spot[] calldata spots,
        RiskParams[] calldata risk,
        uint256 unit,
        uint256 time
    ) private pure returns (Context memory context) {
        RiskHashing.check(risk);
        for (uint256 i = 1; i < spots.length; ++i) {
            if (spots[i].feed <= spots[i - 1].feed) revert FeedsOutOfOrder(i);
        }
        unchecked {
            (uint256 feed, uint256 key) = (0, 0);
            for (uint256 i = 0; i < positions.length; ++i) {
                (uint256 feed_, uint256 key_) = RiskArrays.keys(positions, i);
                if (feed_ == feed) {
                    if (key_ <= key && i > 0) revert PositionsOutOfOrder(i);
                } else if (feed_ < feed) {
                    revert PositionsOutOfOrder(i);
                }
                (feed, key) = (feed_, key_);
            }
        }
        (context.unit, context.time) = (unit, time);
    }

    function _shifts(Context memory context, uint256 markedAt, int256 favoured) private pure {
        _checkSide(favoured);
        // a time of 2^64 or more has let everything expire, and there is nothing to shift
        uint256 age = context.time > markedAt ? context.time - markedAt : 0;
        (context.rootHours, context.favoured) = (ScenarioPrice.rootOfHours(age), favoured);
    }

    function _checkSide(int256 side) private pure {
        if (side != 1 && side != -1) revert InvalidSide(side);
    }

    /// @dev The buckets of the next feed that has positions to count, with their values; none at the end.
    function _nextFeed(
        Context memory context,
        Position[] calldata positions,
        Spot[] calldata spots,
        RiskParams[] calldata risk
    ) private pure returns (Bucket[] memory buckets) {
        unchecked {
            (uint256 first, uint256 end) = (context.next, positions.length);
            if (!context.withExpired) {
                while (first < end && _expiry(positions, first) <= context.time) ++first;
            }
            if (first == end) return buckets;
            // to the end of the feed, counting its expiries
            uint256 feed = RiskArrays.word(positions, first, RiskArrays.FEED);
            uint256 expiry = _expiry(positions, first);
            uint256 count = 1;
            uint256 last = first;
            while (++last < end && RiskArrays.word(positions, last, RiskArrays.FEED) == feed) {
                uint256 next = _expiry(positions, last);
                if (next != expiry) ++count;
                expiry = next;
            }
            (context.next, context.feed) = (last, bytes32(feed));
            context.spot = _spotOf(spots, context.feed);
            context.params = _paramsOf(risk, context.feed);
            buckets = new Bucket[](count);
            _load(buckets, context, positions[first:last], risk[context.params]);
        }
    }

    /// @dev Loads the buckets of these positions, all of one feed.
    function _load(
        Bucket[] memory buckets,
        Context memory context,
        Position[] calldata held,
        RiskParams calldata params
    ) private pure {
        unchecked {
            for (uint256 b = 0; b < buckets.length; ++b) {
                uint256 expiry = _expiry(held, 0);
                uint256 size = 1;
                while (size < held.length && _expiry(held, size) == expiry) ++size;
                Bucket memory bucket = buckets[b];
                RiskArrays.load(bucket, held[:size], context.spot, context.time, params.lookAhead);
                if (context.favoured == 0) {
                    RiskArrays.revalue(bucket);
                } else {
                    uint256 shift = ScenarioPrice.closeOutShift(
                        params.shiftBase,
                        params.shiftPerRootHour,
                        context.rootHours,
                        // within a day of expiry vol scenarios grow no more, the shift does
                        bucket.tau < 1 days ? ScenarioPrice.rootOfMonth(bucket.tau) : bucket.growth
                    );
                    RiskArrays.shift(bucket, shift, context.favoured);
                }
                held = held[size:];
            }
        }
    }

    function _expiry(Position[] calldata held, uint256 i) private pure returns (uint256) {
        return RiskArrays.word(held, i, RiskArrays.EXPIRY);
    }

    function _spotOf(Spot[] calldata spots, bytes32 feed) private pure returns (uint256) {
        for (uint256 i = 0; i < spots.length; ++i) {
            if (spots[i].feed == feed) return spots[i].price;
        }
        revert NoSpot(feed);
    }

    function _paramsOf(RiskParams[] calldata risk, bytes32 feed) private pure returns (uint256) {
        for (uint256 i = 0; i < risk.length; ++i) {
            if (risk[i].feed == feed) return i;
        }
        revert NoRiskParams(feed);
    }

    // ---- sums

    function _worth(Bucket[] memory buckets) private pure returns (int256 worth) {
        unchecked {
            for (uint256 b = 0; b < buckets.length; ++b) {
                worth += buckets[b].worth; // < 2^248
            }
        }
    }

    function _tally(Bucket[] memory buckets, RiskParams calldata params) private pure returns (Tally memory tally) {
        Moves memory moves = RiskMoves.moves(buckets, params.priceRange);
        tally = RiskArrays.empty(moves);
        for (uint256 i = 0; i < buckets.length; ++i) {
            RiskArrays.add(tally, buckets[i], moves, params);
        }
    }

    /// @dev Adds what one feed requires of a party to its sums.
    function _require(
        Sums memory sums,
        Tally memory tally,
        Bucket[] memory buckets,
        Context memory context,
        RiskParams[] calldata risk,
        int256 side
    ) private pure {
        RiskParams calldata params = risk[context.params];
        uint256 maintenance = Requirement.maintenance(tally, params, context.spot, side);
        sums.maintenance += maintenance;
        sums.initial += Requirement.scaledUp(params.imFactor, maintenance);
        _addLosses(sums, buckets, context.unit, side);
    }

    function _addLosses(Sums memory sums, Bucket[] memory buckets, uint256 unit, int256 side) private pure {
        if (sums.unbounded) return;
        (bool bounded, uint256 losses) = Requirement.largestLosses(buckets, unit, side);
        if (bounded) sums.losses += losses;
        else sums.unbounded = true;
    }

    /// @dev A party's value and margins in collateral units, the margins capped at value plus largest losses.
    function _settled(Sums memory sums, int256 worth, uint256 unit)
        private
        pure
        returns (int256 value, uint256 initial, uint256 maintenance)
    {
        value = Requirement.unitsDown(worth, unit);
        initial = Requirement.unitsUp(sums.initial, unit);
        maintenance = Requirement.unitsUp(sums.maintenance, unit);
        // losses that large cap nothing: the margins fit 128 bits, or are refused
        if (!sums.unbounded && sums.losses >> 200 == 0) {
            int256 room = value + int256(sums.losses);
            uint256 cap = room > 0 ? uint256(room) : 0;
            if (cap < initial) initial = cap;
            if (cap < maintenance) maintenance = cap;
        }
        if (initial > type(uint128).max || maintenance > type(uint128).max) revert Black76.PricingDomainError();
    }

    /// @dev What one scenario alone shows a feed to require, WAD x WAD: its weighed loss and the short minimum.
    function _shown(
        Bucket[] memory buckets,
        Context memory context,
        RiskParams calldata params,
        int256 side,
        Scenario calldata scenario
    ) private pure returns (uint256) {
        (Move memory move, uint256 mode) = _move(buckets, context, params, scenario);
        int256 change;
        int256[5] memory quantities;
        unchecked {
            for (uint256 i = 0; i < buckets.length; ++i) {
                Bucket memory bucket = buckets[i];
                RiskArrays.count(quantities, bucket);
                if (scenario.outliving && !bucket.outlives) continue;
                change += RiskArrays.changeIn(bucket, params, move, mode); // < 2^248
            }
        }
        uint256 index = scenario.node == 0 ? scenario.number : RiskMoves.GRID;
        return
            Requirement.weighed(-side * change, index)
                + Requirement.shortMinimum(quantities, params, context.spot, side);
    }

    /// @dev The move that a scenario names, and what happens to vols: 0 up, 1 down, 2 nothing.
    function _move(
        Bucket[] memory buckets,
        Context memory context,
        RiskParams calldata params,
        Scenario calldata scenario
    ) private pure returns (Move memory move, uint256 mode) {
        uint256 number = scenario.number;
        if (scenario.node == 0) {
            if (number >= RiskMoves.GRID) revert NoSuchScenario(context.feed);
            bool extreme = number >= RiskMoves.GRID - 4;
            return (RiskMoves.gridMove(params.priceRange, extreme ? number - 7 : number / 2), extreme ? 2 : number % 2);
        }
        Moves memory moves = RiskMoves.moves(buckets, params.priceRange);
        if (scenario.node >= moves.starts.length) revert NoSuchScenario(context.feed);
        uint256 place = moves.starts[scenario.node - 1];
        if (number < 2) return (moves.list[place], number);
        if (number > 2 || ++place == moves.starts[scenario.node]) revert NoSuchScenario(context.feed);
        return (moves.list[place], 1);
    }
}
