// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Payoff} from "../../src/libraries/Payoff.sol";
import {Black76} from "../../src/risk/Black76.sol";
import {ScenarioPrice} from "../../src/risk/ScenarioPrice.sol";
import {FixedMath} from "../../src/risk/FixedMath.sol";
import {Test} from "../utils/Test.sol";

/// @notice Laws that no price may break, whatever the inputs: no arbitrage, to the wei where it can be. The twin of
/// tests/pricing/test_price_laws.py. What holds exactly is also in Black76.t.sol; elsewhere each price may be off by its
/// published error, and a law is asserted with the sum of the errors of the prices in it and nothing more.
contract Black76LawsTest is Test {
    struct Series {
        uint256 forward;
        uint256 strike;
        uint256 vol;
        uint256 tau;
    }

    uint256 private constant WAD = 1e18;
    /// Leaves room for products of three figures; the whole domain is Python's part.
    uint256 private constant LARGEST = 2 ** 124;
    uint256 private constant LONGEST = 3650 days;

    // ---- in the forward and the strike

    function testFuzz_callAndPutSwapWithForwardAndStrike(Series memory a) public pure {
        _shape(a);
        uint256 call = _price(Payoff.CALL, a);
        (a.forward, a.strike) = (a.strike, a.forward);
        vm.assertEq(_price(Payoff.PUT, a), call);
    }

    function testFuzz_callsRiseWithTheForward_atMostAsMuch(Series memory a, uint256 seed) public pure {
        _shape(a);
        (uint256 low, uint256 high) = _sorted(a.forward, _near(a.forward, seed));
        Series memory b = _with(high, a.strike, a);
        a.forward = low;
        _risesAtMost(_price(Payoff.CALL, a), _price(Payoff.CALL, b), high - low, _error(a) + _error(b));
        _risesAtMost(_price(Payoff.PUT, b), _price(Payoff.PUT, a), high - low, _error(a) + _error(b));
        vm.assertLe(
            _price(Payoff.DIGITAL_CALL, a),
            _price(Payoff.DIGITAL_CALL, b) + _digitalError(a) + _digitalError(b),
            "digital calls rise with the forward"
        );
    }

    function testFuzz_callsFallWithTheStrike_atMostAsMuch(Series memory a, uint256 seed) public pure {
        _shape(a);
        (uint256 low, uint256 high) = _sorted(a.strike, _near(a.strike, seed));
        Series memory b = _with(a.forward, high, a);
        a.strike = low;
        _risesAtMost(_price(Payoff.CALL, b), _price(Payoff.CALL, a), high - low, _error(a) + _error(b));
        _risesAtMost(_price(Payoff.PUT, a), _price(Payoff.PUT, b), high - low, _error(a) + _error(b));
        vm.assertLe(
            _price(Payoff.DIGITAL_CALL, b),
            _price(Payoff.DIGITAL_CALL, a) + _digitalError(a) + _digitalError(b),
            "digital calls fall with the strike"
        );
    }

    function testFuzz_noButterflyCostsLessThanNothing(Series memory a, bool put, uint256 second, uint256 third)
        public
        pure
    {
        _shape(a);
        (uint256 low, uint256 middle, uint256 high) = _three(a.strike, second, third);
        _convex(
            put, _with(a.forward, low, a), _with(a.forward, middle, a), _with(a.forward, high, a), [low, middle, high]
        );
    }

    function testFuzz_optionsAreConvexInTheForward(Series memory a, bool put, uint256 second, uint256 third)
        public
        pure
    {
        _shape(a);
        (uint256 low, uint256 middle, uint256 high) = _three(a.forward, second, third);
        _convex(put, _with(low, a.strike, a), _with(middle, a.strike, a), _with(high, a.strike, a), [low, middle, high]);
    }

    /// @dev A call spread pays between its width in digitals of its upper strike and of its lower.
    function testFuzz_aDigitalIsTheSlopeOfCalls(Series memory a, uint256 seed) public pure {
        _shape(a);
        (uint256 low, uint256 high) = _sorted(a.strike, _near(a.strike, seed));
        Series memory b = _with(a.forward, high, a);
        a.strike = low;
        int256 spread = int256(_price(Payoff.CALL, a)) - int256(_price(Payoff.CALL, b));
        int256 slack = int256(WAD * (_error(a) + _error(b)));
        int256 width = int256(high - low);
        int256 upper = int256(_price(Payoff.DIGITAL_CALL, b)) - int256(_digitalError(b));
        int256 lower = int256(_price(Payoff.DIGITAL_CALL, a)) + int256(_digitalError(a));
        vm.assertTrue(width * upper <= int256(WAD) * spread + slack, "more than the upper digital");
        vm.assertTrue(int256(WAD) * spread - slack <= width * lower, "less than the lower digital");
    }

    function testFuzz_pricesScaleWithForwardAndStrike(Series memory a, bool put, uint256 factor) public pure {
        _shape(a);
        factor = bound(factor, 2, 1e6);
        (a.forward, a.strike) = ((a.forward + factor - 1) / factor, (a.strike + factor - 1) / factor);
        Series memory b = _with(a.forward * factor, a.strike * factor, a);
        uint256 kind = put ? Payoff.PUT : Payoff.CALL;
        _same(factor * _price(kind, a), _price(kind, b), factor * _error(a) + _error(b));
    }

    // ---- in vol and time

    function testFuzz_optionsRiseWithVol(Series memory a, bool put, uint256 vol) public pure {
        _shape(a);
        Series memory b = _with(a.forward, a.strike, a);
        (a.vol, b.vol) = _sorted(a.vol, bound(vol, 0, Black76.MAX_VOL));
        _rises(put, a, b);
    }

    function testFuzz_noCalendarSpreadCostsLessThanNothing(Series memory a, bool put, uint256 tau) public pure {
        _shape(a);
        Series memory b = _with(a.forward, a.strike, a);
        (a.tau, b.tau) = _sorted(a.tau, bound(tau, 0, LONGEST));
        _rises(put, a, b);
    }

    /// @dev Whether from vol or from time: vol^2 tau orders the prices of one forward and strike.
    function testFuzz_optionsRiseWithTotalVariance(Series memory a, bool put, uint256 vol, uint256 tau) public pure {
        _shape(a);
        Series memory b = _with(a.forward, a.strike, a);
        (b.vol, b.tau) = (bound(vol, 0, Black76.MAX_VOL), bound(tau, 0, LONGEST));
        if (a.vol * a.vol * a.tau > b.vol * b.vol * b.tau) (a, b) = (b, a);
        _rises(put, a, b);
        if (a.forward >= a.strike) {
            // in the money d2 = h - t falls with s
            vm.assertLe(
                _price(Payoff.DIGITAL_CALL, b), _price(Payoff.DIGITAL_CALL, a) + _digitalError(a) + _digitalError(b)
            );
        }
    }

    function testFuzz_equalTotalVariance_isAnEqualPrice(Series memory a, bool put, uint256 times) public pure {
        _shape(a);
        times = bound(times, 2, 50);
        (a.vol, a.tau) = (a.vol / times, a.tau / (times * times));
        Series memory b = _with(a.forward, a.strike, a);
        (a.vol, b.tau) = (a.vol * times, a.tau * times * times);
        uint256 kind = put ? Payoff.PUT : Payoff.CALL;
        _same(_price(kind, a), _price(kind, b), _error(a) + _error(b));
    }

    // ---- what scenarios share, and forwards

    function testFuzz_withAnExactLogarithm_aScenarioIsAPrice(Series memory a, uint256 kind) public pure {
        _shape(a);
        kind = bound(kind, 0, 4);
        int256 log = ScenarioPrice.logRatio(a.forward, a.strike);
        vm.assertEq(
            ScenarioPrice.price(kind, a.forward, a.strike, log, Black76.deviation(a.vol, a.tau)),
            Black76.price(kind, a.forward, a.strike, a.vol, a.tau)
        );
    }

    /// @dev Parity in every scenario, whatever error the logarithm carries: intrinsic values are exact.
    function testFuzz_parityHoldsInScenarios(Series memory a, int256 log, uint256 s) public pure {
        _shape(a);
        log = bound(log, -(2 ** 103), 2 ** 103);
        s = bound(s, 0, 2 ** 106 - 1);
        int256[5] memory prices;
        for (uint256 kind = 0; kind < 5; ++kind) {
            prices[kind] = ScenarioPrice.price(kind, a.forward, a.strike, log, s);
        }
        vm.assertEq(prices[0] - prices[1], prices[4]);
        vm.assertEq(prices[4], int256(a.forward) - int256(a.strike));
        vm.assertEq(prices[2] + prices[3], 1e18);
        vm.assertTrue(prices[0] >= 0 && prices[1] >= 0 && prices[2] >= 0 && prices[3] >= 0);
        vm.assertTrue(uint256(prices[0]) <= a.forward && uint256(prices[1]) <= a.strike);
    }

    function testFuzz_forwardsRiseWithSpotAndCarry(uint256 spot, uint256 seed, int256 carry, int256 more, uint256 tau)
        public
        pure
    {
        spot = bound(spot, 1e3, 1e30);
        tau = bound(tau, 0, 365 days);
        carry = bound(carry, -3e18, 3e18);
        (uint256 low, uint256 high) = _sorted(spot, bound(seed, 1e3, 1e30));
        uint256 forward = Black76.forwardPrice(low, carry, tau);
        vm.assertLe(forward, Black76.forwardPrice(high, carry, tau));
        uint256 other = Black76.forwardPrice(low, bound(more, carry, 3e18), tau);
        vm.assertLe(forward, other + 1 + 2 * other / 1e25); // each within 1e-25 before it is rounded down
    }

    // ---- laws

    function _risesAtMost(uint256 before, uint256 later, uint256 step, uint256 slack) private pure {
        vm.assertLe(before, later + slack, "rises");
        vm.assertLe(later, before + step + slack, "at most as much");
    }

    function _rises(bool put, Series memory a, Series memory b) private pure {
        uint256 kind = put ? Payoff.PUT : Payoff.CALL;
        vm.assertLe(_price(kind, a), _price(kind, b) + _error(a) + _error(b));
    }

    function _same(uint256 one, uint256 other, uint256 slack) private pure {
        vm.assertLe(one > other ? one - other : other - one, slack);
    }

    /// @dev (high - low) middle <= (high - middle) low + (middle - low) high, with the errors of all three.
    function _convex(bool put, Series memory a, Series memory b, Series memory c, uint256[3] memory x) private pure {
        uint256 kind = put ? Payoff.PUT : Payoff.CALL;
        uint256 most = (x[2] - x[1]) * (_price(kind, a) + _error(a)) + (x[1] - x[0]) * (_price(kind, c) + _error(c));
        vm.assertLe((x[2] - x[0]) * _price(kind, b), most + (x[2] - x[0]) * _error(b));
    }

    /// @dev Error of an option in wei, as published: 2, and 1e-23 of the smaller of forward and strike beyond 200,000.0.
    function _error(Series memory a) private pure returns (uint256) {
        if (Black76.deviation(a.vol, a.tau) == 0) return 0;
        (uint256 small,) = _sorted(a.forward, a.strike);
        return small < 3e23 ? 2 : small / 1e23;
    }

    /// @dev Error of a digital in wei, as published: 2, and 2e-28 / s of a unit more where s is below 1e-10.
    function _digitalError(Series memory a) private pure returns (uint256) {
        uint256 s = Black76.deviation(a.vol, a.tau);
        if (s == 0) return 0;
        return s >= FixedMath.ONE / 1e10 ? 2 : 3 + 2 * FixedMath.ONE / 1e10 / s;
    }

    // ---- inputs

    function _price(uint256 kind, Series memory a) private pure returns (uint256) {
        int256 price = Black76.price(kind, a.forward, a.strike, a.vol, a.tau);
        vm.assertTrue(price >= 0);
        return uint256(price);
    }

    function _with(uint256 forward, uint256 strike, Series memory a) private pure returns (Series memory) {
        return Series(forward, strike, a.vol, a.tau);
    }

    /// @dev Folds the fuzzer's words into the domain: a strike near its forward or anywhere, vol and time of all sizes.
    function _shape(Series memory a) private pure {
        a.forward = _anywhere(a.forward);
        a.strike = _near(a.forward, a.strike);
        a.vol = bound(a.vol >> 16, 0, a.vol % 4 == 0 ? Black76.MAX_VOL : a.vol % 4 == 1 ? 1e15 : 3e18);
        a.tau = bound(a.tau >> 16, 0, a.tau % 3 == 0 ? LONGEST : a.tau % 3 == 1 ? 90 days : 1 minutes);
    }

    function _anywhere(uint256 seed) private pure returns (uint256) {
        return bound(seed >> 8, 1, LARGEST >> seed % 124);
    }

    function _near(uint256 origin, uint256 seed) private pure returns (uint256 value) {
        uint256 far = seed >> 64;
        if (seed % 8 == 0) return _anywhere(far);
        uint256 gap = seed % 8 == 1 ? far % 4 : origin / 10 ** (seed / 8 % 24) * (far % 1000) / 1000;
        value = far >> 32 & 1 == 0 ? origin + gap : origin - (gap < origin ? gap : 0);
        return bound(value, 1, LARGEST);
    }

    function _three(uint256 a, uint256 second, uint256 third) private pure returns (uint256, uint256, uint256) {
        (uint256 low, uint256 high) = _sorted(a, _near(a, second));
        uint256 other = _near(a, third);
        if (other < low) return (other, low, high);
        return other < high ? (low, other, high) : (low, high, other);
    }

    function _sorted(uint256 a, uint256 b) private pure returns (uint256, uint256) {
        return a < b ? (a, b) : (b, a);
    }
}
