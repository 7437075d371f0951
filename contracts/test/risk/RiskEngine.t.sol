// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RiskEngine} from "../../src/RiskEngine.sol";
import {Position, Spot} from "../../src/libraries/Types.sol";
import {Black76} from "../../src/risk/Black76.sol";
import {IRiskEngine} from "../../src/risk/IRiskEngine.sol";
import {RiskHashing} from "../../src/risk/RiskHashing.sol";
import {Margins, RiskParams, Scenario} from "../../src/risk/RiskTypes.sol";
import {defaultRisk} from "../utils/DefaultRisk.sol";
import {Test} from "../utils/Test.sol";

/// @notice Gas of the RiskEngine, and its type hash. That its figures equal Python's, digit by digit, is
/// tests/pricing/test_risk_engine_agrees.py.
contract RiskEngineTest is Test {
    /// Shown by `forge test -vv`.
    event log_named_uint(string key, uint256 value);

    bytes32 private constant FEED = "ETH-USD";
    uint256 private constant NOW = 1_772_000_000;
    uint256 private constant UNIT = 1e6;

    RiskEngine private immutable ENGINE = new RiskEngine();

    function test_typeHash() public pure {
        vm.assertEq(
            RiskHashing.TYPEHASH,
            keccak256(
                "RiskParams(bytes32 feed,uint64 priceRange,uint64 volUp,uint64 volDown,uint64 lookAhead,uint64 calendar,uint64 strike,uint64 carryBase,uint64 carrySlope,uint64 shortMinimum,uint64 imFactor,uint64 shiftBase,uint64 shiftPerRootHour,uint64 runOffFactor)"
            )
        );
    }

    function test_nothingHeld_needsNothing() public view {
        Margins memory none = ENGINE.margins(new Position[](0), spots(), risk(), UNIT, NOW);
        Margins memory zero;
        vm.assertEq(keccak256(abi.encode(none)), keccak256(abi.encode(zero)));
        vm.assertEq(ENGINE.runOffLock(new Position[](0), spots(), risk(), UNIT, NOW, 1), 0);
    }

    function test_shortForward_byHand() public view {
        Position[] memory book = new Position[](1);
        book[0] = Position(FEED, 4, uint64(NOW + 365 days), 3000e18, -1e18, 0.6e18, 0);
        Margins memory found = ENGINE.margins(book, spots(), risk(), UNIT, NOW);
        // a range of 20 % costs 600, a third of three ranges as much; carry 3.5 %
        vm.assertEq(found.maintenanceA, 705e6);
        vm.assertEq(found.initialA, 881.25e6);
        vm.assertEq(found.valueA, 0);
    }

    /// @notice `_read` takes a quantity up to 2^112 of either sign, at which the sums still fit.
    function test_quantity_upToItsBound() public {
        Position[] memory book = new Position[](1);
        for (uint256 sold = 0; sold < 2; ++sold) {
            int128 sign = sold == 0 ? int128(1) : int128(-1);
            book[0] = Position(FEED, 2, uint64(NOW + 30 days), 3000e18, sign * int128(1 << 112), 0.6e18, 0);
            Margins memory found = ENGINE.margins(book, spots(), risk(), UNIT, NOW);
            // a digital pays 1.0: what it is worth and what it may still cost make its whole payment
            uint256 paid = ((uint256(1) << 112) + 1e12 - 1) / 1e12;
            int256 value = sold == 0 ? found.valueB : found.valueA;
            uint256 margin = sold == 0 ? found.initialB : found.initialA;
            vm.assertTrue(value < 0);
            vm.assertLe(margin, paid);
            book[0].quantity += sign;
            vm.expectRevert(abi.encodeWithSelector(Black76.PricingDomainError.selector));
            ENGINE.margins(book, spots(), risk(), UNIT, NOW);
        }
    }

    function test_neitherParty_isRefused() public {
        Position[] memory book = new Position[](1);
        book[0] = Position(FEED, 0, uint64(NOW + 30 days), 3000e18, 1e18, 0.6e18, 0);
        int256[4] memory none = [int256(0), 2, -2, type(int256).max];
        for (uint256 i = 0; i < none.length; ++i) {
            bytes memory refused = abi.encodeWithSelector(IRiskEngine.InvalidSide.selector, none[i]);
            vm.expectRevert(refused);
            ENGINE.assess(book, spots(), risk(), UNIT, NOW, NOW, none[i], new Scenario[](0));
            vm.expectRevert(refused);
            ENGINE.runOffLock(book, spots(), risk(), UNIT, NOW, none[i]);
            if (none[i] == 0) continue; // closes out at the marks, with nobody called
            vm.expectRevert(refused);
            ENGINE.closeOutValue(book, spots(), risk(), UNIT, NOW, NOW, -none[i]);
        }
    }

    function test_gas_64Positions() public {
        Position[] memory book = book_(64, false);
        Scenario[] memory named = new Scenario[](1);
        named[0].number = 15;
        ENGINE.assess(book, spots(), risk(), UNIT, NOW - 1 hours, NOW, 1, named);
        uint256 shown = vm.lastCallGas().gasTotalUsed;
        ENGINE.margins(book, spots(), risk(), UNIT, NOW);
        uint256 full = vm.lastCallGas().gasTotalUsed;
        emit log_named_uint("shortfall shown by name, 64 positions", shown);
        emit log_named_uint("full margins of both, 64 positions", full);
        vm.assertLe(shown, 900_000);
        vm.assertLe(full, 5_000_000);
    }

    function test_gas_128PositionsWithAllNodes() public {
        Position[] memory book = book_(128, true);
        Scenario[] memory all = new Scenario[](0);
        ENGINE.margins(book, spots(), risk(), UNIT, NOW);
        uint256 full = vm.lastCallGas().gasTotalUsed;
        ENGINE.assess(book, spots(), risk(), UNIT, NOW - 1 hours, NOW, 1, all);
        uint256 assessed = vm.lastCallGas().gasTotalUsed;
        ENGINE.closeOutValue(book, spots(), risk(), UNIT, NOW - 1 hours, NOW, 1);
        uint256 closed = vm.lastCallGas().gasTotalUsed;
        ENGINE.runOffLock(book, spots(), risk(), UNIT, NOW, 1);
        uint256 locked = vm.lastCallGas().gasTotalUsed;
        emit log_named_uint("full margins of both, 128 positions, all nodes", full);
        emit log_named_uint("full assessment, 128 positions, all nodes", assessed);
        emit log_named_uint("close-out value, 128 positions", closed);
        emit log_named_uint("run-off lock, 128 positions, all nodes", locked);
        vm.assertLe(full, 15_000_000);
        vm.assertLe(assessed, 15_000_000);
        vm.assertLe(locked, 15_000_000);
    }

    /// @notice The dearest book: eight digitals make all nodes, everything else is at the money with an expiry and a carry
    /// of its own, so that every price is computed in full and nothing is shared.
    function test_gas_dearestBook() public {
        Position[] memory book = new Position[](128);
        for (uint256 i = 0; i < 128; ++i) {
            book[i] = Position({
                feed: FEED,
                kind: uint8(i < 8 ? 2 : i % 2),
                expiry: uint64(NOW + (i < 8 ? 1 days : (30 + i) * 1 days)),
                strike: uint128((i < 8 ? 2950 + 10 * i : 3000) * 1e18),
                quantity: i % 3 == 0 ? int128(-1e18) : int128(1e18),
                vol: 0.8e18,
                carry: int128(int256(i) * 1e14 + 1)
            });
        }
        Scenario[] memory all = new Scenario[](0);
        ENGINE.margins(book, spots(), risk(), UNIT, NOW);
        uint256 full = vm.lastCallGas().gasTotalUsed;
        ENGINE.assess(book, spots(), risk(), UNIT, NOW - 1 hours, NOW, 1, all);
        uint256 assessed = vm.lastCallGas().gasTotalUsed;
        ENGINE.runOffLock(book, spots(), risk(), UNIT, NOW, 1);
        uint256 locked = vm.lastCallGas().gasTotalUsed;
        emit log_named_uint("dearest book, full margins of both", full);
        emit log_named_uint("dearest book, full assessment", assessed);
        emit log_named_uint("dearest book, run-off lock", locked);
        vm.assertLe(full, 15_000_000);
        vm.assertLe(assessed, 15_000_000);
        vm.assertLe(locked, 15_000_000);
    }

    /// @dev Calls, puts and digitals of four expiries; with `eve` the first is tomorrow and has eight digital strikes near.
    function book_(uint256 size, bool eve) private pure returns (Position[] memory book) {
        book = new Position[](size);
        uint256 each = size / 4;
        uint256[4] memory terms = [eve ? 1 days : uint256(7 days), 30 days, 90 days, 365 days];
        for (uint256 i = 0; i < size; ++i) {
            uint256 place = i % each;
            uint256 third = each / 3 + 1;
            uint256 kind = place / third;
            book[i] = Position({
                feed: FEED,
                kind: uint8(kind),
                expiry: uint64(NOW + terms[i / each]),
                strike: uint128((2650 + 700 * (place % third) / third) * 1e18),
                quantity: int128(int256((i * 7919) % 21) - 10) * 1e18 + 1,
                vol: uint128(0.5e18 + (i * 31 % 40) * 0.01e18),
                carry: 0.03e18
            });
        }
    }

    function spots() private pure returns (Spot[] memory list) {
        list = new Spot[](1);
        list[0] = Spot(FEED, 3000e18);
    }

    function risk() private pure returns (RiskParams[] memory list) {
        list = new RiskParams[](1);
        list[0] = defaultRisk(FEED);
    }
}
