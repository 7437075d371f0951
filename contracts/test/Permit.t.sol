// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Errors} from "../src/libraries/Errors.sol";
import {Permit, Phase, Terms} from "../src/libraries/Types.sol";
import {ChannelTest} from "./utils/ChannelTest.sol";
import {HostileToken} from "./utils/HostileToken.sol";

/// @notice `openWithPermit`: permits serve where they hold, and never decide.
contract PermitTest is ChannelTest {
    Permit private none;

    function revokeAll() private {
        vm.prank(partyA);
        token.approve(address(adjudicator), 0);
        vm.prank(partyB);
        token.approve(address(adjudicator), 0);
    }

    function noTransfer() private view returns (bytes memory) {
        return abi.encodeWithSelector(Errors.TransferFailed.selector, address(token));
    }

    function test_bothByPermit() public {
        revokeAll();
        Terms memory terms = defaultTerms();
        bytes memory data = openWithPermitData(
            terms, DEPOSIT, 2 * DEPOSIT, permitOf(PARTY_A_KEY, DEPOSIT), permitOf(PARTY_B_KEY, 2 * DEPOSIT)
        );
        bytes32 id = abi.decode(send(stranger, data), (bytes32));
        vm.assertEq(id, adjudicator.channelId(terms));
        vm.assertEq(token.balanceOf(address(adjudicator)), 3 * DEPOSIT);
        vm.assertEq(token.allowance(partyA, address(adjudicator)), 0);
        vm.assertEq(adjudicator.channel(id).contributionB, 2 * int128(DEPOSIT));
        assertPhase(id, Phase.Open);
    }

    function test_eitherByPermit() public {
        for (uint256 b; b < 2; ++b) {
            uint256 snapshot = vm.snapshotState();
            vm.prank(b == 0 ? partyA : partyB);
            token.approve(address(adjudicator), 0);
            Terms memory terms = defaultTerms();
            fails(openWithPermitData(terms, DEPOSIT, DEPOSIT, none, none), noTransfer());
            Permit memory permit = permitOf(b == 0 ? PARTY_A_KEY : PARTY_B_KEY, type(uint256).max);
            bytes memory data = b == 0
                ? openWithPermitData(terms, DEPOSIT, DEPOSIT, permit, none)
                : openWithPermitData(terms, DEPOSIT, DEPOSIT, none, permit);
            send(stranger, data);
            vm.revertToState(snapshot);
        }
    }

    /// @dev Expired, forged, for too little: refused by the pull, unless the allowance is there anyway.
    function test_badPermits_decideNothing() public {
        Terms memory terms = defaultTerms();
        Permit memory good = permitOf(PARTY_B_KEY, DEPOSIT);
        Permit[3] memory bad;
        bad[0] = permitOf(PARTY_A_KEY, DEPOSIT);
        bad[0].deadline = block.timestamp - 1;
        bad[1] = permitOf(PARTY_B_KEY, DEPOSIT);
        bad[2] = permitOf(PARTY_A_KEY, DEPOSIT);
        bad[2].value = type(uint256).max;
        for (uint256 i; i < bad.length; ++i) {
            uint256 snapshot = vm.snapshotState();
            send(stranger, openWithPermitData(terms, DEPOSIT, DEPOSIT, bad[i], good));
            vm.revertToState(snapshot);
            snapshot = vm.snapshotState();
            revokeAll();
            fails(openWithPermitData(terms, DEPOSIT, DEPOSIT, bad[i], good), noTransfer());
            assertPhase(adjudicator.channelId(terms), Phase.None);
            vm.revertToState(snapshot);
        }
        fails(
            openWithPermitData(terms, DEPOSIT, DEPOSIT, permitOf(PARTY_A_KEY, DEPOSIT - 1), good),
            noTransfer() // it takes the place of the allowance
        );
    }

    /// @dev Everything else is `open`'s own: the same signatures on the same Opening.
    function test_refusesWhatOpenRefuses() public {
        (Terms memory terms, bytes32 id) = open();
        fails(
            openWithPermitData(terms, DEPOSIT, DEPOSIT, none, none),
            abi.encodeWithSelector(Errors.ChannelExists.selector, id)
        );
        terms.salt = "other";
        bytes memory data = openWithPermitData(terms, DEPOSIT, DEPOSIT, none, none);
        uint64 until = openingUntil();
        vm.warp(until + 1);
        fails(data, abi.encodeWithSelector(Errors.Expired.selector, until));
        terms.unit = 0;
        fails(openWithPermitData(terms, DEPOSIT, DEPOSIT, none, none), abi.encodeWithSelector(Errors.ZeroUnit.selector));
    }

    /// @dev A token without permits, like USDT: the attempt fails and changes nothing.
    function test_tokenWithoutPermits() public {
        HostileToken plain = new HostileToken();
        Terms memory terms = defaultTerms();
        terms.collateral = address(plain);
        plain.mint(partyA, DEPOSIT);
        vm.prank(partyA);
        plain.approve(address(adjudicator), DEPOSIT);
        plain.setFault(HostileToken.Fault.NoReturn, address(0));
        send(stranger, openWithPermitData(terms, DEPOSIT, 0, permitOf(PARTY_A_KEY, DEPOSIT), none));
        vm.assertEq(plain.balanceOf(address(adjudicator)), DEPOSIT);
    }
}
