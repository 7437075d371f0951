// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Black76} from "../../src/risk/Black76.sol";
import {Test} from "../utils/Test.sol";
import {PricingHarness} from "./PricingHarness.sol";

/// @notice Prices on chain. That they equal Python's, digit by digit, is tests/pricing/test_engines_agree.py.
contract Black76Test is Test {
    /// Shown by `forge test -vv`.
    event log_named_uint(string key, uint256 value);

    PricingHarness private immutable HARNESS = new PricingHarness();

    uint256 private constant DAY = 1 days;
    uint256 private constant MAX = type(uint128).max;

    function test_knownFigures() public pure {
        // as in the docstrings of channels/pricing/black76.py
        vm.assertEq(Black76.price(0, 100e18, 100e18, 0.2e18, 365 * DAY), 7965567455405796294);
        vm.assertEq(Black76.forwardPrice(3000e18, 0.05e18, 365 * DAY), 3153813289128072119092);
    }

    /// @notice Beside values worked out with 60 digits, to the errors that docs/explanation/pricing.md states.
    function test_functions_againstReferences() public view {
        uint256 one = 1 << 96;
        _near(HARNESS.lnRatio(14e18, 10e18), 26658077044563462579138916793, 16);
        _near(HARNESS.expNegative(one * 34 / 100), 56392254804666423603384862323, 800);
        _near(HARNESS.expNegative(one * 69 / 100), (1 << 128) + 79477900626462642906415432728, 800);
        _near(HARNESS.expNegative(one * 55 / 10), (8 << 128) + 82889572271432944034563220483, 800);
        _near(HARNESS.mills(one * 1 / 10), 91846229793669290123277955133, 4e5);
        _near(HARNESS.mills(one * 9 / 10), 54804787296243011696252902102, 4e5);
        _near(HARNESS.mills(one * 2), 33384309776544292051613232412, 4e5);
        _near(HARNESS.mills(one * 33 / 10), 22234701699162126066566424568, 4e5);
        _near(HARNESS.mills(one * 77 / 10), 10123945365548140224331249836, 4e5);
        _near(HARNESS.mills(one * 159 / 10), 4963422620570007414088586155, 4e5);
    }

    function _near(uint256 found, uint256 expected, uint256 error_) private pure {
        vm.assertLe(found > expected ? found - expected : expected - found, error_);
    }

    function testFuzz_putCallParityIsExact(uint256 forward, uint256 strike, uint256 vol, uint256 tau) public pure {
        (forward, strike, vol, tau) = _domain(forward, strike, vol, tau);
        int256 call = Black76.price(0, forward, strike, vol, tau);
        int256 put = Black76.price(1, forward, strike, vol, tau);
        vm.assertEq(call - put, int256(forward) - int256(strike));
        vm.assertEq(call - put, Black76.price(4, forward, strike, vol, tau));
        vm.assertTrue(call >= 0 && put >= 0 && uint256(call) <= forward && uint256(put) <= strike);
    }

    function testFuzz_digitalsAddUpToOne(uint256 forward, uint256 strike, uint256 vol, uint256 tau) public pure {
        (forward, strike, vol, tau) = _domain(forward, strike, vol, tau);
        int256 call = Black76.price(2, forward, strike, vol, tau);
        int256 put = Black76.price(3, forward, strike, vol, tau);
        vm.assertTrue(call >= 0 && put >= 0);
        vm.assertEq(call + put, 1e18);
    }

    function testFuzz_expiredIsPayoff(uint256 forward, uint256 strike, uint256 vol) public pure {
        (forward, strike, vol,) = _domain(forward, strike, vol, 0);
        vm.assertEq(Black76.price(0, forward, strike, vol, 0), forward > strike ? int256(forward - strike) : int256(0));
        vm.assertEq(Black76.price(2, forward, strike, vol, 0), forward >= strike ? int256(1e18) : int256(0));
    }

    function test_outsideTheDomain_reverts() public {
        _refused(0, 0, 1e18, 0, 1);
        _refused(0, 1e18, 0, 0, 1);
        _refused(0, MAX + 1, 1e18, 0, 1);
        _refused(0, 1e18, MAX + 1, 0, 1);
        _refused(0, 1e18, 1e18, 100e18 + 1, 1);
        _refused(0, 1e18, 1e18, 1, 3650 * DAY + 1);
        _refused(5, 1e18, 1e18, 1, 1);
        _refused(type(uint256).max, 1e18, 1e18, 1, 1);
        _refusedForward(0, 0, 1);
        _refusedForward(MAX + 1, 0, 1);
        _refusedForward(1e18, 100e18 + 1, 1);
        _refusedForward(1e18, -100e18 - 1, 1);
        _refusedForward(1e18, type(int256).min, 1);
        _refusedForward(1e18, 0, 3650 * DAY + 1);
        _refusedForward(1e18, 100e18, 3650 * DAY); // the forward itself leaves the domain
        _refusedForward(1e18, -100e18, 3650 * DAY);
    }

    /// @notice The target is 3,300 a price (design, targets.md), on average over strikes and tenors as markets have them.
    function test_gas_onePrice() public {
        uint256[4] memory strikes = [uint256(3000e18), 3150e18, 2400e18, 5000e18];
        uint256 dearest;
        uint256 total;
        for (uint256 kind = 0; kind < 2; ++kind) {
            for (uint256 i = 0; i < 4; ++i) {
                for (uint256 tenor = 1; tenor < 400; tenor *= 7) {
                    uint256 used = _gasOf(kind, 3010e18, strikes[i], 0.6e18, tenor * DAY);
                    total += used;
                    if (used > dearest) dearest = used;
                }
            }
        }
        vm.snapshotValue("pricing", "one price, mean", total / 32);
        vm.snapshotValue("pricing", "one price, dearest", dearest);
        vm.snapshotValue("pricing", "one digital", _gasOf(2, 3010e18, 3150e18, 0.6e18, 30 * DAY));
        vm.assertLe(total / 32, 3_300);
    }

    function _gasOf(uint256 kind, uint256 forward, uint256 strike, uint256 vol, uint256 tau)
        private
        view
        returns (uint256 used)
    {
        uint256 before = gasleft();
        int256 result = Black76.price(kind, forward, strike, vol, tau);
        used = before - gasleft();
        vm.assertTrue(result >= 0); // keeps the price from being left out
    }

    function _refused(uint256 kind, uint256 forward, uint256 strike, uint256 vol, uint256 tau) private {
        vm.expectRevert(Black76.PricingDomainError.selector);
        HARNESS.price(kind, forward, strike, vol, tau);
    }

    function _refusedForward(uint256 spot, int256 carry, uint256 tau) private {
        vm.expectRevert(Black76.PricingDomainError.selector);
        HARNESS.forwardPrice(spot, carry, tau);
    }

    function _domain(uint256 forward, uint256 strike, uint256 vol, uint256 tau)
        private
        pure
        returns (uint256, uint256, uint256, uint256)
    {
        return (bound(forward, 1, MAX), bound(strike, 1, MAX), bound(vol, 0, 100e18), bound(tau, 0, 3650 * DAY));
    }
}
