// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Errors} from "../src/libraries/Errors.sol";
import {Events} from "../src/libraries/Events.sol";
import {ChannelView, Opening, Phase, Terms} from "../src/libraries/Types.sol";
import {ChannelTest} from "./utils/ChannelTest.sol";
import {HostileToken} from "./utils/HostileToken.sol";
import {Wallet} from "./utils/Wallet.sol";

/// @notice `open`: whose word it takes, what it pulls, and the bounds on terms (rules 9 to 11).
contract OpenTest is ChannelTest {
    function signed(Terms memory terms, uint128 a, uint128 b, uint64 until) private view returns (bytes32) {
        return harness.hashOpening(Opening(terms, a, b, until));
    }

    function test_locksBothDeposits() public {
        Terms memory terms = defaultTerms();
        bytes32 id = adjudicator.channelId(terms);
        bytes memory data = openData(terms, DEPOSIT, 2 * DEPOSIT);
        vm.expectEmit(address(adjudicator));
        emit Events.Opened(id, signerA, signerB, DEPOSIT, 2 * DEPOSIT);
        send(stranger, data);

        vm.assertEq(token.balanceOf(address(adjudicator)), 3 * DEPOSIT);
        vm.assertEq(gainOf(partyA), -int256(uint256(DEPOSIT)));
        vm.assertEq(gainOf(partyB), -2 * int256(uint256(DEPOSIT)));
        ChannelView memory expected;
        expected.phase = Phase.Open;
        expected.contributionA = int128(DEPOSIT);
        expected.contributionB = 2 * int128(DEPOSIT);
        vm.assertEq(keccak256(abi.encode(adjudicator.channel(id))), keccak256(abi.encode(expected)));
        (uint256 cashA, uint256 cashB) = adjudicator.cash(id, 5);
        vm.assertEq(cashA, DEPOSIT - 5);
        vm.assertEq(cashB, 2 * DEPOSIT + 5);
    }

    function test_idIsMadeOfDeploymentAndTerms() public view {
        Terms memory terms = defaultTerms();
        bytes32 expected =
            keccak256(abi.encode(block.chainid, address(adjudicator), signerA, signerB, harness.hashTerms(terms)));
        vm.assertEq(adjudicator.channelId(terms), expected);
        vm.assertEq(adjudicator.deploymentChainId(), block.chainid);
    }

    function test_oneSideMayDepositNothing() public {
        Terms memory terms = defaultTerms();
        vm.prank(partyB);
        token.approve(address(adjudicator), 0);
        bytes32 id = open(terms, DEPOSIT, 0);
        assertPhase(id, Phase.Open);
    }

    function test_refusesAUsedId() public {
        (Terms memory terms, bytes32 id) = open();
        fails(openData(terms, DEPOSIT, DEPOSIT), abi.encodeWithSelector(Errors.ChannelExists.selector, id));
    }

    function test_refusesAnExpiredOpening_andOneWithoutLimit() public {
        Terms memory terms = defaultTerms();
        bytes memory data = openData(terms, DEPOSIT, DEPOSIT);
        uint64 until = openingUntil();
        vm.warp(until + 1);
        fails(data, abi.encodeWithSelector(Errors.Expired.selector, until));
        bytes32 structHash = signed(terms, DEPOSIT, DEPOSIT, 0);
        data = openData(terms, DEPOSIT, DEPOSIT, 0, long(PARTY_A_KEY, structHash), long(PARTY_B_KEY, structHash));
        fails(data, abi.encodeWithSelector(Errors.Expired.selector, 0));
    }

    function test_acceptsItToTheLastSecond() public {
        Terms memory terms = defaultTerms();
        bytes memory data = openData(terms, DEPOSIT, DEPOSIT);
        vm.warp(openingUntil());
        send(stranger, data);
    }

    // ---- signatures

    function withSignatures(bytes memory a, bytes memory b) private view returns (bytes memory) {
        return openData(defaultTerms(), DEPOSIT, DEPOSIT, openingUntil(), a, b);
    }

    function test_takesCompactSignatures() public {
        bytes32 structHash = signed(defaultTerms(), DEPOSIT, DEPOSIT, openingUntil());
        send(stranger, withSignatures(short(PARTY_A_KEY, structHash), long(PARTY_B_KEY, structHash)));
    }

    function test_refusesOthersSignatures() public {
        bytes32 structHash = signed(defaultTerms(), DEPOSIT, DEPOSIT, openingUntil());
        bytes memory good = long(PARTY_A_KEY, structHash);
        bytes memory goodB = long(PARTY_B_KEY, structHash);
        bytes memory notA = abi.encodeWithSelector(Errors.InvalidSignature.selector, partyA);
        bytes memory notB = abi.encodeWithSelector(Errors.InvalidSignature.selector, partyB);
        fails(withSignatures(good, good), notB);
        fails(withSignatures(long(SIGNER_A_KEY, structHash), goodB), notA);
        fails(withSignatures("", goodB), notA);
        fails(withSignatures(new bytes(64), goodB), notA);
        fails(withSignatures(new bytes(65), goodB), notA);
        fails(withSignatures(bytes.concat(good, hex"00"), goodB), notA);
        // Signed for other amounts.
        fails(openData(defaultTerms(), DEPOSIT, DEPOSIT + 1, openingUntil(), good, goodB), notA);
    }

    function test_refusesHighSAndOddV() public {
        bytes32 structHash = signed(defaultTerms(), DEPOSIT, DEPOSIT, openingUntil());
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PARTY_A_KEY, digestOf(structHash));
        bytes32 high = bytes32(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141 - uint256(s));
        bytes memory goodB = long(PARTY_B_KEY, structHash);
        bytes memory notA = abi.encodeWithSelector(Errors.InvalidSignature.selector, partyA);
        fails(withSignatures(abi.encodePacked(r, high, 55 - v), goodB), notA);
        fails(withSignatures(abi.encodePacked(r, s, v - 27), goodB), notA);
        fails(withSignatures(abi.encodePacked(r, s, v + 2), goodB), notA);
        // s with its top bit set must not be read as a parity.
        fails(withSignatures(abi.encodePacked(r, bytes32(uint256(s) | 1 << 255), uint8(27)), goodB), notA);
    }

    function test_takesWallets_butOnlyTheExactAnswer() public {
        Wallet wallet = new Wallet();
        token.mint(address(wallet), DEPOSIT);
        vm.prank(address(wallet));
        token.approve(address(adjudicator), DEPOSIT);
        Terms memory terms = defaultTerms();
        terms.partyA = address(wallet);
        bytes32 structHash = signed(terms, DEPOSIT, DEPOSIT, openingUntil());
        bytes memory data = openData(terms, DEPOSIT, DEPOSIT, openingUntil(), "whatever", long(PARTY_B_KEY, structHash));
        bytes memory notA = abi.encodeWithSelector(Errors.InvalidSignature.selector, address(wallet));

        fails(data, notA);
        wallet.approveDigest(digestOf(structHash), true);
        for (uint8 answer = 1; answer <= uint8(type(Wallet.Answer).max); ++answer) {
            wallet.set(Wallet.Answer(answer));
            fails(data, notA);
        }
        wallet.set(Wallet.Answer.Magic);
        send(stranger, data);
    }

    // ---- bounds (rule 11)

    function refuses(Terms memory terms, bytes memory why) private {
        fails(openData(terms, DEPOSIT, DEPOSIT), why);
    }

    function test_refusesZeroAddresses() public {
        bytes memory why = abi.encodeWithSelector(Errors.ZeroAddress.selector);
        for (uint256 i; i < 6; ++i) {
            Terms memory terms = defaultTerms();
            if (i == 0) terms.partyA = address(0);
            if (i == 1) terms.partyB = address(0);
            if (i == 2) terms.signerA = address(0);
            if (i == 3) terms.signerB = address(0);
            if (i == 4) terms.collateral = address(0);
            if (i == 5) terms.oracle = address(0);
            refuses(terms, why);
        }
    }

    function test_refusesOneAddressOnBothSides() public {
        bytes memory why = abi.encodeWithSelector(Errors.SidesNotDistinct.selector);
        for (uint256 i; i < 4; ++i) {
            Terms memory terms = defaultTerms();
            if (i == 0) terms.partyB = partyA;
            if (i == 1) terms.signerB = signerA;
            if (i == 2) terms.signerB = partyA;
            if (i == 3) terms.signerA = partyB;
            refuses(terms, why);
        }
    }

    function test_aPartyMayBeItsOwnSigner() public {
        Terms memory terms = defaultTerms();
        (terms.signerA, terms.signerB) = (partyA, partyB);
        open(terms, DEPOSIT, DEPOSIT);
    }

    function test_refusesZeroUnitAndRiskHash() public {
        Terms memory terms = defaultTerms();
        terms.unit = 0;
        refuses(terms, abi.encodeWithSelector(Errors.ZeroUnit.selector));
        terms = defaultTerms();
        terms.riskHash = 0;
        refuses(terms, abi.encodeWithSelector(Errors.ZeroRiskHash.selector));
    }

    /// @dev Each bounded member at both ends of its range and one beyond each.
    function test_everyBound() public {
        oracle.setGrace(3 days);
        checkBound(0, 1 hours, 30 days, Errors.DisputeWindowOutOfBounds.selector);
        checkBound(1, 1 hours, 7 days, Errors.CureWindowOutOfBounds.selector);
        checkBound(2, 5 days, 30 days, Errors.SettlementGraceOutOfBounds.selector);
        checkBound(3, 60, 1 days, Errors.MaxPriceAgeOutOfBounds.selector);
        checkBound(4, 1 hours, 14 days, Errors.MaxMarkAgeOutOfBounds.selector);
        checkBound(5, 1 days, 3_650 days, Errors.MaxTenorOutOfBounds.selector);
        checkBound(6, 8, 64, Errors.MaxInFlightOutOfBounds.selector);
        checkBound(7, 0, 5_000, Errors.DefaultPenaltyOutOfBounds.selector);
    }

    function checkBound(uint256 member, uint32 least, uint32 most, bytes4 selector) private {
        Terms memory terms = defaultTerms();
        terms.salt = bytes32(member);
        set(terms, member, least);
        open(terms, 1, 1);
        set(terms, member, most);
        open(terms, 1, 1);
        set(terms, member, most + 1);
        refuses(terms, boundError(member, selector, most + 1, least));
        if (least == 0) return;
        set(terms, member, least - 1);
        refuses(terms, boundError(member, selector, least - 1, least));
    }

    function boundError(uint256 member, bytes4 selector, uint256 value, uint256 least)
        private
        pure
        returns (bytes memory)
    {
        if (member == 2) return abi.encodeWithSelector(selector, value, least);
        return abi.encodeWithSelector(selector, value);
    }

    function set(Terms memory terms, uint256 member, uint32 value) private pure {
        if (member == 0) terms.disputeWindow = value;
        if (member == 1) terms.cureWindow = value;
        if (member == 2) terms.settlementGrace = value;
        if (member == 3) terms.maxPriceAge = value;
        if (member == 4) terms.maxMarkAge = value;
        if (member == 5) terms.maxTenor = value;
        if (member == 6) terms.maxInFlight = uint16(value);
        if (member == 7) terms.defaultPenaltyBps = uint16(value);
    }

    function test_refusesAnOracleThatHidesItsGrace() public {
        Terms memory terms = defaultTerms();
        terms.oracle = address(0xdead);
        refuses(terms, abi.encodeWithSelector(Errors.OracleGraceUnknown.selector, address(0xdead)));
        terms.oracle = address(token);
        refuses(terms, abi.encodeWithSelector(Errors.OracleGraceUnknown.selector, address(token)));
    }

    /// @dev Upper bits in a narrow member would make an id that no later call could read: never opened.
    function test_refusesDirtyTerms() public {
        bytes memory clean = openData(defaultTerms(), DEPOSIT, DEPOSIT);
        for (uint256 word; word < 16; ++word) {
            bytes memory dirty = bytes.concat(clean);
            dirty[4 + 32 * word] = 0x01;
            vm.prank(stranger);
            (bool success, bytes memory why) = address(adjudicator).call(dirty);
            vm.assertFalse(success);
            vm.assertEq(why.length, 0);
        }
    }

    // ---- money

    function test_refusesAPotBeyond119Bits() public {
        Terms memory terms = defaultTerms();
        uint128 half = 2 ** 118;
        token.mint(partyA, half);
        token.mint(partyB, half);
        refusesDeposits(terms, half, half);
        refusesDeposits(terms, type(uint128).max, type(uint128).max);
        open(terms, half, half - 1);
    }

    function refusesDeposits(Terms memory terms, uint128 a, uint128 b) private {
        fails(openData(terms, a, b), abi.encodeWithSelector(Errors.PotTooLarge.selector));
    }

    function test_allOrNothing() public {
        Terms memory terms = defaultTerms();
        vm.prank(partyB);
        token.approve(address(adjudicator), DEPOSIT - 1);
        fails(openData(terms, DEPOSIT, DEPOSIT), abi.encodeWithSelector(Errors.TransferFailed.selector, address(token)));
        vm.assertEq(gainOf(partyA), 0);
        assertPhase(adjudicator.channelId(terms), Phase.None);
    }

    function test_collateralMustBeAContract() public {
        Terms memory terms = defaultTerms();
        terms.collateral = address(0xdead);
        refuses(terms, abi.encodeWithSelector(Errors.BalanceUnknown.selector, address(0xdead)));
    }

    function hostile() private returns (HostileToken bad, Terms memory terms) {
        bad = new HostileToken();
        terms = defaultTerms();
        terms.collateral = address(bad);
        bad.mint(partyA, DEPOSIT);
        bad.mint(partyB, DEPOSIT);
        vm.prank(partyA);
        bad.approve(address(adjudicator), DEPOSIT);
        vm.prank(partyB);
        bad.approve(address(adjudicator), DEPOSIT);
    }

    /// @dev Rule 10: USDT's kind works, a fee is refused, and so is every answer that is not "true".
    function test_hostileTokens() public {
        (HostileToken bad, Terms memory terms) = hostile();
        bytes memory data = openData(terms, DEPOSIT, DEPOSIT);
        bytes memory failed = abi.encodeWithSelector(Errors.TransferFailed.selector, address(bad));
        HostileToken.Fault[6] memory faults = [
            HostileToken.Fault.ReturnsFalse,
            HostileToken.Fault.ReturnsTwo,
            HostileToken.Fault.ReturnsShort,
            HostileToken.Fault.Reverts,
            HostileToken.Fault.RevertsLong,
            HostileToken.Fault.BurnsGas
        ];
        for (uint256 i; i < faults.length; ++i) {
            bad.setFault(faults[i], address(0));
            if (faults[i] == HostileToken.Fault.BurnsGas) {
                vm.prank(stranger);
                (bool success,) = address(adjudicator).call{gas: 1_000_000}(data);
                vm.assertFalse(success);
            } else {
                fails(data, failed);
            }
        }
        bad.setFault(HostileToken.Fault.Fee, address(0));
        fails(data, abi.encodeWithSelector(Errors.WrongAmountReceived.selector, 2 * DEPOSIT, 2 * DEPOSIT * 99 / 100));
        bad.setFault(HostileToken.Fault.None, address(0));
        bad.setBalanceFails(true);
        fails(data, abi.encodeWithSelector(Errors.BalanceUnknown.selector, address(bad)));
        bad.setBalanceFails(false);
        bad.setFault(HostileToken.Fault.NoReturn, address(0));
        send(stranger, data);
    }
}
