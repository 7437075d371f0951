// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Party, Permit, Portfolio, Position, SignedState, Spot, Terms} from "../../src/libraries/Types.sol";
import {Scenario} from "../../src/risk/RiskTypes.sol";
import {ChannelTest} from "../utils/ChannelTest.sol";

/// @notice What each call costs as a whole transaction: 21,000, calldata with EIP-7623's floor, refunds. Written to
/// `snapshots/transaction.json`; the limits are those of the design's targets.
/// forge-config: default.isolate = true
contract GasTest is ChannelTest {
    uint8 internal constant COUNT = 64;
    /// What every call with 128 positions is to fit: no transaction may pass 16,777,216 (EIP-7825).
    uint256 internal constant TARGET = 15_000_000;

    // ---- measuring

    function test_calibration_isolatedCallIsAWholeTransaction() public {
        (Terms memory terms,) = open();
        checkpoint(terms, 1, onePosition());
        vm.assertEq(sendCheckpoint(terms, 1, onePosition()), floorOf(checkpointData(terms, 1, onePosition())));
    }

    /// @dev EIP-7623: 21,000 and 10 gas a token; a zero byte is one token, another four.
    function floorOf(bytes memory data) internal pure returns (uint256) {
        return 21_000 + 10 * tokensOf(data);
    }

    function tokensOf(bytes memory data) internal pure returns (uint256 tokens) {
        for (uint256 i; i < data.length; ++i) {
            tokens += data[i] == 0 ? 1 : 4;
        }
    }

    function transact(address sender, bytes memory data) internal returns (uint256) {
        vm.prank(sender);
        (bool success,) = address(adjudicator).call(data);
        vm.assertTrue(success);
        return vm.lastCallGas().gasTotalUsed;
    }

    function record(string memory name, uint256 used, uint256 most) internal {
        vm.snapshotValue("transaction", name, used);
        vm.assertLe(used, most, name);
    }

    // ---- transactions

    function sendOpen(Terms memory terms) internal returns (uint256) {
        return transact(partyA, openData(terms, DEPOSIT, DEPOSIT));
    }

    function sendCheckpoint(Terms memory terms, uint64 nonce, Portfolio memory portfolio) internal returns (uint256) {
        return transact(partyB, checkpointData(terms, nonce, portfolio));
    }

    function sendDispute(Terms memory terms, uint64 nonce, Portfolio memory portfolio) internal returns (uint256) {
        return transact(partyA, disputeData(terms, stateOf(terms, nonce, 0, portfolio)));
    }

    function sendSettle(Terms memory terms, Portfolio memory portfolio) internal returns (uint256) {
        return transact(partyB, settleData(terms, portfolio));
    }

    /// @dev Another channel has been opened and disputed before: the contract holds tokens, the counter is not 0.
    function inUse() internal returns (Terms memory terms) {
        terms = defaultTerms();
        terms.salt = keccak256("another");
        open(terms, DEPOSIT, DEPOSIT);
        dispute(partyA, terms);
        terms = defaultTerms();
    }

    function marked(uint256 count) internal view returns (Portfolio memory portfolio) {
        portfolio.netToB = 1_234_567_890;
        portfolio.marginA = 23_456_789_012;
        portfolio.marginB = 12_345_678_901;
        portfolio.markedAt = uint64(block.timestamp);
        portfolio.spots = new Spot[](count == 0 ? 0 : 1);
        if (count != 0) portfolio.spots[0] = Spot(ETH, 3_123.45e18);
        portfolio.positions = new Position[](count);
        for (uint256 i; i < count; ++i) {
            portfolio.positions[i] =
                Position(ETH, uint8(i % 2), EXPIRY, uint128(2_000 + 25 * i) * 1e18, 1.5e18, 0.6543e18, 0.0421e18);
        }
    }

    // ---- figures

    function test_gas_open() public {
        Terms memory terms = inUse();
        record("open, infinite allowance", sendOpen(terms), 125_000);
    }

    function test_gas_openFiniteAllowance() public {
        Terms memory terms = inUse();
        vm.prank(partyA);
        token.approve(address(adjudicator), 2 * DEPOSIT);
        vm.prank(partyB);
        token.approve(address(adjudicator), 2 * DEPOSIT);
        record("open, finite allowance", sendOpen(terms), 131_000);
    }

    /// @dev Two permits in place of two approvals of 46,000 and more each.
    function test_gas_openWithPermits() public {
        Terms memory terms = inUse();
        vm.prank(partyA);
        token.approve(address(adjudicator), 0);
        vm.prank(partyB);
        token.approve(address(adjudicator), 0);
        Permit memory a = permitOf(PARTY_A_KEY, DEPOSIT);
        bytes memory data = openWithPermitData(terms, DEPOSIT, DEPOSIT, a, permitOf(PARTY_B_KEY, DEPOSIT));
        record("open, both by permit", transact(partyA, data), 215_000);
    }

    function test_gas_checkpoint() public {
        (Terms memory terms,) = open();
        record("checkpoint, a channel's first", sendCheckpoint(terms, 1, marked(2)), 64_000);
        record("checkpoint, later", sendCheckpoint(terms, 2, marked(3)), 46_500);
        record("checkpoint, not newer", sendCheckpoint(terms, 2, marked(3)), 31_500);
    }

    /// @dev A watchtower's round: what each channel more costs, none recorded for the first time.
    function test_gas_checkpointMany() public {
        uint256 ten = checkpointMany(10);
        setUp();
        uint256 used = ten - checkpointMany(9);
        vm.snapshotValue("transaction", "checkpointMany, 10 channels", ten);
        record("checkpointMany, one more", used, 30_000);
    }

    function checkpointMany(uint256 count) internal returns (uint256) {
        SignedState[] memory states = new SignedState[](count);
        for (uint256 i; i < count; ++i) {
            Terms memory terms = defaultTerms();
            terms.salt = keccak256(abi.encode(i));
            open(terms, DEPOSIT, DEPOSIT);
            checkpoint(terms, 1, marked(2));
            states[i] = signedState(terms, stateOf(terms, 2, 0, marked(3)));
        }
        return transact(tower, checkpointManyData(states));
    }

    function test_gas_withdraw() public {
        (Terms memory terms,) = open();
        checkpoint(terms, 1, marked(0));
        bytes memory data = withdrawData(terms, withdrawalOf(terms, 2, marked(0), 1e6, 0));
        record("withdraw, pays one, no position", transact(partyA, data), 80_000);
        data = withdrawData(terms, withdrawalOf(terms, 3, marked(COUNT), 1e6, 1e6));
        record("withdraw, pays both, 64 positions", transact(partyA, data), 340_000);
    }

    function test_gas_disputeFor() public {
        Terms memory terms = inUse();
        open(terms, DEPOSIT, DEPOSIT);
        bytes memory data =
            disputeForData(terms, stateOf(terms, 1, 0, marked(0)), authorisationOf(terms, 1), SIGNER_A_KEY);
        record("dispute by a delegate, no position", transact(tower, data), 90_000);
    }

    function test_gas_abandon() public {
        Terms memory terms = inUse();
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        checkpoint(terms, 1, marked(2));
        dispute(partyA, terms);
        vm.warp(abandonableFrom(terms, id));
        record("abandon", transact(partyA, abandonData(terms)), 78_000);
    }

    function test_gas_dispute() public {
        Terms memory terms = inUse();
        open(terms, DEPOSIT, DEPOSIT);
        record("dispute, no position", sendDispute(terms, 1, marked(0)), 80_000);
    }

    function test_gas_disputeWith64Positions() public {
        Terms memory terms = inUse();
        open(terms, DEPOSIT, DEPOSIT);
        record("dispute, 64 positions", sendDispute(terms, 1, marked(COUNT)), 335_000);
    }

    function test_gas_close() public {
        Terms memory terms = inUse();
        open(terms, DEPOSIT, DEPOSIT);
        record("close, both hold the token", sendClose(terms), 78_000);
    }

    function test_gas_closeFreshPayees() public {
        Terms memory terms = inUse();
        open(terms, DEPOSIT, DEPOSIT);
        empty(partyA);
        empty(partyB);
        record("close, neither holds the token", sendClose(terms), 112_000);
    }

    function empty(address account) internal {
        uint256 all = token.balanceOf(account);
        vm.prank(account);
        token.transfer(stranger, all);
    }

    function sendClose(Terms memory terms) internal returns (uint256) {
        return transact(partyA, closeData(terms, 1, 1_234_567));
    }

    function test_gas_unilateralExit() public {
        Terms memory terms = inUse();
        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        Portfolio memory last = marked(0);
        uint256 used = sendDispute(terms, 1, last);
        passDeadline(id);
        used += sendSettle(terms, last);
        record("unilateral exit, no position", used, 150_000);
    }

    /// @dev The difference between settling 64 and 63 positions of one (feed, expiry), all of them ending the channel.
    function test_gas_settleOneMore() public {
        uint256 all = settleAll(64);
        setUp();
        uint256 oneLess = settleAll(63);
        vm.snapshotValue("transaction", "settle, 64 positions", all);
        record("settle, one more position", all - oneLess, 5_000);
    }

    /// @dev The same, while the rest of the portfolio remains and is emitted.
    function test_gas_settleWithRemainder() public {
        (Terms memory terms, bytes32 id) = open();
        Portfolio memory portfolio = marked(COUNT);
        for (uint256 i = COUNT / 2; i < COUNT; ++i) {
            portfolio.positions[i].expiry = EXPIRY + 7 days;
        }
        dispute(partyA, terms, 1, portfolio);
        passDeadline(id);
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 3_210e18);
        record("settle, 32 of 64 positions", sendSettle(terms, portfolio), 450_000);
    }

    function settleAll(uint256 count) internal returns (uint256) {
        (Terms memory terms, bytes32 id) = open();
        Portfolio memory portfolio = marked(count);
        dispute(partyA, terms, 1, portfolio);
        passDeadline(id);
        vm.warp(EXPIRY);
        setKnown(ETH, EXPIRY, 3_210e18);
        return sendSettle(terms, portfolio);
    }

    // ---- margin: A is short of everything, with far too little

    /// @dev `count` calls and puts that A has sold, a quarter each in expiries of 1, 30, 90 and 365 days, with strikes 2,650
    /// to 3,350; digitals among the first, so that there are as many nodes as there may be.
    function sold(uint256 count) internal view returns (Portfolio memory portfolio) {
        portfolio = marked(0);
        portfolio.positions = new Position[](count);
        uint256 each = count / 4;
        uint64[4] memory tenors = [uint64(1 days), 30 days, 90 days, 365 days];
        for (uint256 i; i < count; ++i) {
            uint256 place = i % each;
            uint256 third = each / 3 + 1;
            portfolio.positions[i] = Position({
                feed: ETH,
                kind: uint8(place / third),
                expiry: uint64(block.timestamp) + 2 days + tenors[i / each],
                strike: uint128(2_650 + 700 * (place % third) / third) * 1e18,
                quantity: -11.5e18,
                vol: uint128(0.5e18 + i * 0.003e18),
                carry: 0.0421e18
            });
        }
    }

    /// @dev The same of two feeds: half the positions each, in one expiry.
    function soldOfTwoFeeds(uint256 count) internal view returns (Portfolio memory portfolio) {
        portfolio = marked(0);
        portfolio.positions = new Position[](count);
        uint256 half = count / 2;
        for (uint256 i; i < count; ++i) {
            uint256 place = i % half;
            portfolio.positions[i] = Position({
                feed: (i < half) == (ETH < BTC) ? ETH : BTC,
                kind: uint8(place * 2 / half),
                expiry: EXPIRY + 28 days,
                strike: uint128(2_650 + 20 * (place % (half / 2))) * 1e18,
                quantity: -11.5e18,
                vol: uint128(0.5e18 + i * 0.003e18),
                carry: 0.0421e18
            });
        }
    }

    /// @dev The dearest to value: an expiry and a carry each, all at the money, so that nothing is shared, and eight
    /// digitals near expiry for the nodes.
    function dearest() internal view returns (Portfolio memory portfolio) {
        portfolio = marked(0);
        portfolio.positions = new Position[](128);
        for (uint256 i; i < 128; ++i) {
            uint256 tenor = i < 8 ? 3 days : (31 + i) * 1 days;
            portfolio.positions[i] = Position({
                feed: ETH,
                kind: uint8(i < 8 ? 2 : i % 2),
                expiry: uint64(block.timestamp + tenor),
                strike: uint128(i < 8 ? 3_070 + 10 * i : 3_100) * 1e18,
                quantity: -11.5e18,
                vol: 0.8e18,
                carry: int128(int256(i) * 1e14 + 1)
            });
        }
    }

    /// @dev In run-off on `portfolio`, with spots of this second: A has 100,000 less what it paid, B `ofB`.
    function runningOff(Portfolio memory portfolio, uint128 ofB) internal returns (Terms memory terms) {
        terms = inUse();
        bytes32 id = open(terms, DEPOSIT, ofB);
        dispute(partyB, terms, 1, portfolio);
        passDeadline(id);
        setSpot(ETH, 3_123.45e18);
        setSpot(BTC, 3_123.45e18);
    }

    function sendCallMargin(Portfolio memory portfolio, Scenario[] memory scenarios) internal returns (uint256) {
        Terms memory terms = runningOff(portfolio, DEPOSIT);
        return transact(partyB, callMarginData(terms, portfolio, Party.A, scenarios));
    }

    function sendCloseOut(Portfolio memory portfolio) internal returns (uint256) {
        Terms memory terms = runningOff(portfolio, DEPOSIT);
        Scenario[] memory worst = new Scenario[](1);
        worst[0].number = 10; // a rise of the whole range, vols with it
        uint32 cureEnd = abi.decode(send(partyB, callMarginData(terms, portfolio, Party.A, worst)), (uint32));
        vm.warp(cureEnd);
        setKnown(ETH, cureEnd, 3_123.45e18);
        return transact(partyB, closeOutData(terms, portfolio, Party.A));
    }

    /// @dev By B, who has bought it all and has nothing to lose, or by A, with enough to release.
    function sendRelease(Portfolio memory portfolio, bool bySeller) internal returns (uint256) {
        if (bySeller) portfolio.netToB = -int128(2 ** 100);
        Terms memory terms = runningOff(portfolio, DEPOSIT);
        if (bySeller) {
            token.mint(stranger, 2 ** 90);
            send(stranger, depositData(terms, Party.A, 2 ** 89));
        }
        return transact(bySeller ? partyA : partyB, releaseData(terms, portfolio));
    }

    function test_gas_callMargin() public {
        Scenario[] memory scenarios = new Scenario[](2);
        (scenarios[0].number, scenarios[1].number) = (10, 10);
        uint256 used = sendCallMargin(soldOfTwoFeeds(COUNT), scenarios);
        record("callMargin, 64 positions, two scenarios", used, 900_000);
    }

    function test_gas_callMarginInFull() public {
        uint256 used = sendCallMargin(sold(COUNT), new Scenario[](0));
        record("callMargin, 64 positions, the whole margin", used, 5_000_000);
    }

    function test_gas_callMarginInFullOfAll() public {
        uint256 used = sendCallMargin(sold(128), new Scenario[](0));
        record("callMargin, 128 positions, the whole margin", used, TARGET);
    }

    function test_gas_callMarginDearest() public {
        uint256 used = sendCallMargin(dearest(), new Scenario[](0));
        record("callMargin, the dearest 128 positions", used, TARGET);
    }

    function test_gas_closeOut() public {
        record("closeOut, 128 positions, the whole margin", sendCloseOut(sold(128)), TARGET);
    }

    function test_gas_closeOutDearest() public {
        record("closeOut, the dearest 128 positions", sendCloseOut(dearest()), TARGET);
    }

    function test_gas_release() public {
        record("release, 128 positions, by the buyer", sendRelease(sold(128), false), TARGET);
    }

    function test_gas_releaseBySeller() public {
        record("release, 128 positions, by the seller", sendRelease(sold(128), true), TARGET);
    }

    function test_gas_releaseDearest() public {
        record("release, the dearest 128 positions", sendRelease(dearest(), true), TARGET);
    }
}
