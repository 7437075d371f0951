// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Permit, Portfolio, Position, SignedState, Spot, Terms} from "../../src/libraries/Types.sol";
import {ChannelTest} from "../utils/ChannelTest.sol";

/// @notice What each call costs as a whole transaction: 21,000, calldata with EIP-7623's floor, refunds. Written to
/// `snapshots/transaction.json`; the limits are those of the design's targets.
/// forge-config: default.isolate = true
contract GasTest is ChannelTest {
    uint8 internal constant COUNT = 64;

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
}
