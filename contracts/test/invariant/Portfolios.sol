// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Portfolio, Position, Spot} from "../../src/libraries/Types.sol";
import {MarginTest} from "../utils/MarginTest.sol";

/// @notice Portfolios drawn from a seed: most as peers sign them, some of which RiskEngine refuses every figure, since
/// the contract records whatever both signed.
abstract contract Portfolios is MarginTest {
    /// @dev Bits of a seed: with any of the first its portfolio is well-formed, with the other it is large.
    uint256 internal constant SOUND = 3;
    uint256 internal constant LARGE = 4;

    /// @dev Levels of price, from low to high.
    uint256 internal constant LEVELS = 6;

    /// @dev A figure below `below`; another `name`, another figure.
    function draw(uint256 seed, string memory name, uint256 below) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, name))) % below;
    }

    /// @dev Another seed, one of many that follow from `seed`.
    function next(uint256 seed, uint256 index) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, index)));
    }

    /// @dev The price of a feed at one of the levels.
    function priceAt(bytes32 feed, uint256 level) internal pure returns (uint256) {
        uint16[6] memory dollars = [800, 1_900, 2_700, 3_200, 4_500, 9_000];
        return uint256(dollars[level % LEVELS]) * scale(feed) * 1e18;
    }

    /// @dev The portfolio of a seed, marked about `moment`.
    function portfolioOf(uint256 seed, uint256 moment) internal pure returns (Portfolio memory portfolio) {
        bool wild = seed & SOUND == 0;
        // Beyond the pots now and then, which are of up to two thousand.
        uint256 most = draw(seed, "net", 3) == 0 ? 3_000e6 : 200e6;
        portfolio.netToB = int128(int256(draw(seed, "netToB", 2 * most + 1))) - int128(int256(most));
        portfolio.marginA = uint128(draw(seed, "marginA", 500e6));
        portfolio.marginB = uint128(draw(seed, "marginB", 500e6));
        portfolio.markedAt = uint64(wild ? next(seed, 0) : moment - draw(seed, "age", 4 hours));
        if (!wild && stale(seed)) portfolio.markedAt -= 3 days;
        portfolio.spots = _spots(seed, wild);
        uint256 count = draw(seed, "count", 4);
        portfolio.positions = new Position[](count);
        (bytes32 low, bytes32 high) = ETH < BTC ? (ETH, BTC) : (BTC, ETH);
        uint256 ofLow = draw(seed, "split", count + 1);
        uint256 day = draw(seed, "day", 2);
        for (uint256 i; i < count; ++i) {
            uint256 word = next(seed, i);
            bytes32 feed = i < ofLow ? low : high;
            // 08:00 UTC of the next days, each later than the last: the canonical order whatever the rest. Some outlive a
            // margin call that lapses.
            day += draw(word, "far", 4) == 0 ? 28 : 1 + draw(word, "gap", 2);
            uint64 expiry = uint64((moment / 1 days + day) * 1 days + 8 hours);
            portfolio.positions[i] = wild ? _wild(word, feed, moment) : _sound(word, feed, expiry, seed & LARGE != 0);
        }
    }

    /// @dev Whether the marks of this seed are too old to call anybody.
    function stale(uint256 seed) internal pure returns (bool) {
        return draw(seed, "stale", 8) == 0;
    }

    function _spots(uint256 seed, bool wild) private pure returns (Spot[] memory spots) {
        (bytes32 low, bytes32 high) = ETH < BTC ? (ETH, BTC) : (BTC, ETH);
        spots = new Spot[](wild ? draw(seed, "spots", 3) : 2);
        uint256 level = draw(seed, "spot", LEVELS);
        if (spots.length > 0) spots[0] = Spot(low, uint128(priceAt(low, level)));
        if (spots.length > 1) spots[1] = Spot(high, uint128(wild ? draw(seed, "odd", 2) : priceAt(high, level)));
    }

    function _sound(uint256 word, bytes32 feed, uint64 expiry, bool large) private pure returns (Position memory) {
        // One at 3,000 costs as much as three deposits, a fiftieth of it a tenth of one.
        uint256 size = (large ? 1e18 : 0.02e18) / scale(feed);
        int256 quantity = int256(1 + draw(word, "size", size));
        return Position({
            feed: feed,
            kind: uint8(draw(word, "kind", 5)),
            expiry: expiry,
            strike: uint128((1_000 + draw(word, "strike", 4_000)) * scale(feed) * 1e18),
            quantity: int128(draw(word, "sold", 2) == 0 ? quantity : -quantity),
            vol: uint128(0.3e18 + draw(word, "vol", 1e18)),
            carry: int128(int256(draw(word, "carry", 0.2e18))) - 0.1e18
        });
    }

    /// @dev Of any kind, in any order, expired before it was signed or not, at marks beyond all bounds.
    function _wild(uint256 word, bytes32 feed, uint256 moment) private pure returns (Position memory) {
        return Position({
            feed: draw(word, "feed", 4) == 0 ? keccak256(abi.encode(feed)) : feed,
            kind: uint8(draw(word, "kind", 8)),
            expiry: uint64(moment / 1 hours * 1 hours + draw(word, "expiry", 6) * 1 days - 2 days),
            strike: uint128(draw(word, "strike", 4) * 2_000e18),
            quantity: int128(int256(draw(word, "quantity", 20e18))) - 10e18,
            vol: uint128(draw(word, "vol", 2 ** 70)),
            carry: int128(int256(draw(word, "carry", 2 ** 70)))
        });
    }

    /// @dev By how much a feed's prices exceed those of ETH.
    function scale(bytes32 feed) internal pure returns (uint256) {
        return feed == BTC ? 20 : 1;
    }
}
