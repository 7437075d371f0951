// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RiskEngine} from "../../src/RiskEngine.sol";
import {Position, Spot} from "../../src/libraries/Types.sol";
import {Margins, RiskParams, Scenario} from "../../src/risk/RiskTypes.sol";
import {defaultRisk} from "../utils/DefaultRisk.sol";
import {Test} from "../utils/Test.sol";

/// @notice Laws of margins, close-out values and locks that follow from no-arbitrage and from their purpose, over books
/// drawn by the fuzzer. That the figures equal Python's is tests/pricing/test_risk_engine_agrees.py.
contract RiskEngineLawsTest is Test {
    bytes32 private constant FEED = "ETH-USD";
    uint256 private constant NOW = 1_772_000_000;
    uint256 private constant SPOT = 3000e18;
    uint256 private constant UNIT = 1e6;
    uint256 private constant SIZE = 6;

    RiskEngine private immutable ENGINE = new RiskEngine();

    /// @dev What one party has and needs the other would have and need with every quantity turned round.
    function testFuzz_aMirroredBookMirrorsTheMargins(uint256 seed) public view {
        Position[] memory book = _book(seed);
        Margins memory found = _margins(book);
        vm.assertTrue(found.valueA + found.valueB == 0 || found.valueA + found.valueB == -1, "values round down");
        vm.assertLe(found.maintenanceA, found.initialA);
        vm.assertLe(found.maintenanceB, found.initialB);
        int256 lost = _closeOut(book, 1);
        uint256 locked = _lock(book, 1);
        for (uint256 i = 0; i < SIZE; ++i) {
            book[i].quantity = -book[i].quantity;
        }
        Margins memory other = _margins(book);
        vm.assertEq(other.initialB, found.initialA);
        vm.assertEq(other.maintenanceB, found.maintenanceA);
        vm.assertEq(other.initialA, found.initialB);
        vm.assertEq(other.maintenanceA, found.maintenanceB);
        vm.assertEq(other.valueB, found.valueA);
        vm.assertEq(_closeOut(book, -1), -lost);
        vm.assertEq(_lock(book, -1), locked);
    }

    /// @dev A call less a put is a forward whatever the vol: so is what A holds, what it is closed out at, and its margin in
    /// every scenario. Of the charges only that on the vol of each leg sees two options, and the short minimum.
    function testFuzz_aSyntheticForwardIsAForward(uint256 seed, int128 quantity, bool short) public view {
        quantity = int128(bound(quantity, 1, 1e24)) * (short ? -1 : int128(1));
        Position memory call = _position(seed, 0);
        call.quantity = quantity;
        Position[] memory synthetic = new Position[](2);
        (synthetic[0], synthetic[1]) = (call, _copy(call, 1, -quantity));
        Position[] memory forward = new Position[](1);
        forward[0] = _copy(call, 4, quantity);

        vm.assertEq(_margins(synthetic).valueA, _margins(forward).valueA);
        vm.assertEq(_margins(synthetic).valueB, _margins(forward).valueB);
        for (int256 called = -1; called < 2; ++called) {
            vm.assertEq(_closeOut(synthetic, called), _closeOut(forward, called));
        }
        Scenario[] memory named = new Scenario[](1);
        RiskParams[] memory free = _risk();
        free[0].shortMinimum = 0;
        for (uint8 number = 0; number < 18; ++number) {
            named[0].number = number;
            (int256 value, uint256 needed) = ENGINE.assess(synthetic, _spots(), free, UNIT, NOW, NOW, 1, named);
            (int256 worth, uint256 required) = ENGINE.assess(forward, _spots(), free, UNIT, NOW, NOW, 1, named);
            vm.assertEq(value, worth);
            vm.assertEq(needed, required);
        }
    }

    /// @dev A box pays the distance of its strikes at every price and vol: no scenario costs its holder anything.
    function testFuzz_aBoxIsMoney(uint256 seed, uint256 width, int128 quantity, bool short) public view {
        quantity = int128(bound(quantity, 1, 1e24)) * (short ? -1 : int128(1));
        Position memory call = _position(seed, 0);
        uint128 distance = uint128(bound(width, 1, 5000e18));
        Position[] memory box = new Position[](4);
        call.quantity = quantity;
        (box[0], box[2]) = (call, _copy(call, 1, -quantity));
        (box[1], box[3]) = (_copy(call, 0, -quantity), _copy(call, 1, quantity));
        (box[1].strike, box[3].strike) = (call.strike + distance, call.strike + distance);
        Margins memory found = _margins(box);
        int256 exact = int256(quantity) * int256(uint256(distance)) * int256(UNIT);
        vm.assertEq(found.valueA, _floor(exact));
        vm.assertEq(found.valueB, _floor(-exact));

        Scenario[] memory named = new Scenario[](1);
        RiskParams[] memory free = _risk();
        free[0].shortMinimum = 0;
        for (uint8 number = 0; number < 18; ++number) {
            named[0].number = number;
            (, uint256 required) =
                ENGINE.assess(box, _spots(), free, UNIT, NOW, NOW, short ? int256(-1) : int256(1), named);
            vm.assertEq(required, 0);
        }
        // its buyer can lose nothing but what rounding takes
        vm.assertLe(short ? found.initialB : found.initialA, uint256(short ? found.valueB : found.valueA) + 1);
    }

    /// @dev Any scenario by name shows a lower bound, at nodes too, and those of the outliving positions alone too.
    function testFuzz_aNamedScenarioNeverShowsMoreThanTheMargin(uint256 seed, Scenario memory name, bool ofB)
        public
        view
    {
        Position[] memory book = _book(seed);
        int256 side = ofB ? int256(-1) : int256(1);
        name.node = name.node % 3;
        name.number = name.number % (name.node == 0 ? 18 : 2);
        Scenario[] memory named = new Scenario[](1);
        named[0] = name;
        (int256 value, uint256 full) =
            ENGINE.assess(book, _spots(), _risk(), UNIT, NOW - 1 hours, NOW, side, new Scenario[](0));
        try ENGINE.assess(book, _spots(), _risk(), UNIT, NOW - 1 hours, NOW, side, named) returns (
            int256 worth, uint256 shown
        ) {
            vm.assertEq(worth, value);
            vm.assertLe(shown, full);
        } catch {
            vm.assertTrue(name.node != 0, "the grid is always there"); // fewer nodes than named
        }
    }

    /// @dev To close out against a party never pays it more than to close out against the other.
    function testFuzz_theShiftIsAgainstTheCalledParty(uint256 seed, uint256 age) public view {
        Position[] memory book = _book(seed);
        uint256 markedAt = NOW - bound(age, 0, 30 days);
        int256 againstA = ENGINE.closeOutValue(book, _spots(), _risk(), UNIT, markedAt, NOW, 1);
        int256 againstB = ENGINE.closeOutValue(book, _spots(), _risk(), UNIT, markedAt, NOW, -1);
        vm.assertTrue(againstA <= againstB);
        // and a decision values the book in favour of the party it is about
        (int256 toA,) = ENGINE.assess(book, _spots(), _risk(), UNIT, markedAt, NOW, 1, new Scenario[](0));
        vm.assertTrue(toA <= againstB && toA + 1 >= againstB, "the same value, down to the unit");
    }

    /// @dev Though each bucket's lock ends at its largest loss.
    function testFuzz_theLockGrowsWithItsFactor(uint256 seed, bool ofB) public view {
        Position[] memory book = _book(seed);
        int256 side = ofB ? int256(-1) : int256(1);
        RiskParams[] memory risk = _risk();
        uint256 before;
        for (uint64 factor = 1e18; factor <= 5e18; factor += 1e18) {
            risk[0].runOffFactor = factor;
            uint256 lock = ENGINE.runOffLock(book, _spots(), risk, UNIT, NOW, side);
            vm.assertLe(before, lock);
            before = lock;
        }
    }

    // ---- inputs

    /// @dev Six series in canonical order, of four expiries with one on the eve.
    function _book(uint256 seed) private pure returns (Position[] memory book) {
        book = new Position[](SIZE);
        uint64[6] memory expiries = [uint64(1 days), 1 days, 7 days, 30 days, 30 days, 365 days];
        for (uint256 i = 0; i < SIZE; ++i) {
            book[i] = _position(uint256(keccak256(abi.encode(seed, i))), 0);
            book[i].expiry = uint64(NOW) + expiries[i];
            book[i].kind = uint8(uint256(keccak256(abi.encode(i, seed))) % 5);
            if (i > 0 && book[i].expiry == book[i - 1].expiry && book[i].kind <= book[i - 1].kind) {
                book[i].kind = book[i - 1].kind;
                book[i].strike = book[i - 1].strike + 50e18;
            }
        }
    }

    /// @dev A series of kind `kind`, with its quantity drawn too.
    function _position(uint256 seed, uint8 kind) private pure returns (Position memory) {
        return Position({
            feed: FEED,
            kind: kind,
            expiry: uint64(NOW + 1 hours + (seed >> 128) % 400 days),
            strike: uint128(SPOT / 4 + (seed >> 96) % (2 * SPOT)),
            quantity: int128(int256(1 + (seed >> 40) % 1e21)) * (seed % 2 == 0 ? int128(1) : -1),
            vol: uint128((seed >> 64) % 2e18),
            carry: int128(int256((seed >> 80) % 2e17)) - 1e17
        });
    }

    function _copy(Position memory a, uint8 kind, int128 quantity) private pure returns (Position memory) {
        return Position(a.feed, kind, a.expiry, a.strike, quantity, a.vol, a.carry);
    }

    function _margins(Position[] memory book) private view returns (Margins memory) {
        return ENGINE.margins(book, _spots(), _risk(), UNIT, NOW);
    }

    function _closeOut(Position[] memory book, int256 called) private view returns (int256) {
        return ENGINE.closeOutValue(book, _spots(), _risk(), UNIT, NOW - 2 hours, NOW, called);
    }

    function _lock(Position[] memory book, int256 side) private view returns (uint256) {
        return ENGINE.runOffLock(book, _spots(), _risk(), UNIT, NOW, side);
    }

    /// @dev `exact` / 1e36, towards minus infinity.
    function _floor(int256 exact) private pure returns (int256) {
        return exact / 1e36 - (exact % 1e36 < 0 ? int256(1) : int256(0));
    }

    function _spots() private pure returns (Spot[] memory list) {
        list = new Spot[](1);
        list[0] = Spot(FEED, uint128(SPOT));
    }

    function _risk() private pure returns (RiskParams[] memory list) {
        list = new RiskParams[](1);
        list[0] = defaultRisk(FEED);
    }
}
