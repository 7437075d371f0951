// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Status} from "../../src/interfaces/IOracle.sol";
import {ChannelView, Party, Portfolio, Position, Spot, Terms} from "../../src/libraries/Types.sol";
import {Scenario} from "../../src/risk/RiskTypes.sol";
import {ChannelTest} from "./ChannelTest.sol";

/// @notice A party that can be short, whichever of the two, and what margin calls, close-outs and releases come to,
/// computed from deposits, hand-made payoffs and RiskEngine's own views.
abstract contract MarginTest is ChannelTest {
    int256 internal constant D = int256(uint256(DEPOSIT));
    uint64 internal constant LATER = EXPIRY + 28 days;
    /// The end of a cure of one day that starts an hour after START: the next full hour.
    uint32 internal constant CURE_END = 1_774_090_800;
    uint256 internal constant SPOT = 4_000e18;

    // ---- values

    /// @dev `party` has sold 100 calls at 3,000 for 20,000. Signed margins of 60,000 and 10,000.
    function shortCalls(Party party) internal pure returns (Portfolio memory portfolio) {
        portfolio = onePosition();
        int128 sign = int128(side(party));
        portfolio.netToB = -sign * 20_000e6;
        (portfolio.marginA, portfolio.marginB) = party == Party.A ? (60_000e6, 10_000e6) : (10_000e6, 60_000e6);
        portfolio.positions[0] = option(0, LATER, 3_000e18, -sign * 100e18);
    }

    /// @dev `party` holds these forwards at 3,000, without carry: they are worth spot - 3,000 each, whatever the vol.
    function forwards(Party party, uint64 expiry, int128 quantity) internal pure returns (Portfolio memory portfolio) {
        portfolio = onePosition();
        portfolio.positions[0] = forward(party, expiry, quantity);
    }

    function forward(Party party, uint64 expiry, int128 quantity) internal pure returns (Position memory position) {
        position = option(4, expiry, 3_000e18, int128(side(party)) * quantity * 1e18);
        position.carry = 0;
    }

    function two(Position memory first, Position memory second) internal pure returns (Position[] memory list) {
        list = new Position[](2);
        (list[0], list[1]) = (first, second);
    }

    function side(Party party) internal pure returns (int256) {
        return party == Party.A ? int256(1) : -1;
    }

    function otherOf(Party party) internal pure returns (Party) {
        return party == Party.A ? Party.B : Party.A;
    }

    function addressOf(Party party) internal view returns (address) {
        return party == Party.A ? partyA : partyB;
    }

    function prices(uint256 eth) internal pure returns (Spot[] memory list) {
        list = new Spot[](1);
        list[0] = Spot(ETH, uint128(eth));
    }

    function scenario(uint8 number) internal pure returns (Scenario[] memory list) {
        list = new Scenario[](1);
        list[0] = Scenario(0, number, false);
    }

    /// @dev A has sold 600 calls for 180,000: at 3,100 neither has its margin, A for what a rise and B for what a fall costs.
    function bothShort() internal pure returns (Portfolio memory portfolio) {
        portfolio = onePosition();
        portfolio.netToB = -180_000e6;
        (portfolio.marginA, portfolio.marginB) = (60_000e6, 60_000e6);
        portfolio.positions[0] = option(0, LATER, 3_000e18, -600e18);
    }

    // ---- what RiskEngine says of it

    function assess(Portfolio memory portfolio, uint256 eth, uint256 time, Party party, Scenario[] memory scenarios)
        internal
        view
        returns (int256 value, uint256 maintenance)
    {
        return riskEngine.assess(
            portfolio.positions, prices(eth), risk(), UNIT, portfolio.markedAt, time, side(party), scenarios
        );
    }

    function assess(Portfolio memory portfolio, uint256 eth, uint256 time, Party party)
        internal
        view
        returns (int256 value, uint256 maintenance)
    {
        return assess(portfolio, eth, time, party, new Scenario[](0));
    }

    /// @param defaulter None = at the vols signed.
    function closeOutValue(Portfolio memory portfolio, uint256 eth, uint256 time, Party defaulter)
        internal
        view
        returns (int256)
    {
        int256 against = defaulter == Party.None ? int256(0) : side(defaulter);
        return
            riskEngine.closeOutValue(portfolio.positions, prices(eth), risk(), UNIT, portfolio.markedAt, time, against);
    }

    function lockOf(Portfolio memory portfolio, uint256 eth, Party party) internal view returns (uint256) {
        return riskEngine.runOffLock(portfolio.positions, prices(eth), risk(), UNIT, block.timestamp, side(party));
    }

    /// @dev The deposit with which `party` has exactly its maintenance margin.
    function justEnough(Portfolio memory portfolio, uint256 eth, uint256 time, Party party)
        internal
        view
        returns (uint128)
    {
        (int256 value, uint256 maintenance) = assess(portfolio, eth, time, party);
        return uint128(uint256(int256(maintenance) - value + side(party) * portfolio.netToB));
    }

    // ---- verbs

    /// @dev Opens with `party`'s deposit first.
    function openWith(Terms memory terms, Party party, uint256 own, uint256 others) internal returns (bytes32) {
        return
            party == Party.A ? open(terms, uint128(own), uint128(others)) : open(terms, uint128(others), uint128(own));
    }

    /// @dev In its window on `portfolio`, filed by A at START with a nonce of 1; an hour has passed and the spot is set.
    function inWindow(Portfolio memory portfolio, Party party, uint256 own, uint256 eth)
        internal
        returns (Terms memory terms, bytes32 id)
    {
        terms = defaultTerms();
        id = openWith(terms, party, own, DEPOSIT);
        dispute(partyA, terms, 1, portfolio);
        vm.warp(START + 1 hours);
        setSpot(ETH, eth);
    }

    /// @dev The same, with `party` called.
    function called(Portfolio memory portfolio, Party party, uint256 own, uint256 eth)
        internal
        returns (Terms memory terms, bytes32 id)
    {
        (terms, id) = inWindow(portfolio, party, own, eth);
        vm.assertEq(callMargin(terms, portfolio, party), CURE_END);
    }

    /// @dev `party` with its deposit is short of its calls at 4,000, is called, and the cure has ended at that price.
    function cureEnded(Party party) internal returns (Terms memory terms, bytes32 id, Portfolio memory portfolio) {
        portfolio = shortCalls(party);
        (terms, id) = called(portfolio, party, DEPOSIT, SPOT);
        vm.warp(CURE_END);
        setKnown(ETH, CURE_END, SPOT);
    }

    /// @dev Both are called in their window, B `apart` after A, who is an hour into it.
    function bothCalled(uint256 apart) internal returns (Terms memory terms, bytes32 id, Portfolio memory portfolio) {
        portfolio = bothShort();
        (terms, id) = called(portfolio, Party.A, DEPOSIT, 3_100e18);
        vm.warp(START + 1 hours + apart);
        setSpot(ETH, 3_100e18);
        callMargin(terms, portfolio, Party.B);
    }

    function setLastResort(bytes32 feed, uint64 time, uint256 price) internal {
        oracle.set(feed, time, Status.LastResort, price);
    }

    // ---- what came of it

    /// @dev The ends of a pot under `cashA` before any clamp.
    function clamped(int256 cashA, uint256 pot) internal pure returns (uint256, uint256) {
        uint256 paidA = cashA < 0 ? 0 : uint256(cashA) > pot ? pot : uint256(cashA);
        return (paidA, pot - paidA);
    }

    /// @dev Whatever was paid: nothing was made and nothing is left.
    function assertConserved() internal view {
        vm.assertEq(gainOf(partyA) + gainOf(partyB), 0);
        vm.assertEq(token.balanceOf(address(adjudicator)), 0);
    }

    function assertSame(ChannelView memory left, ChannelView memory right) internal pure {
        vm.assertEq(keccak256(abi.encode(left)), keccak256(abi.encode(right)));
    }
}
