// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChannelLens} from "../src/ChannelLens.sol";
import {IAdjudicator} from "../src/interfaces/IAdjudicator.sol";
import {Agenda, Span, Standing} from "../src/interfaces/IChannelLens.sol";
import {Errors} from "../src/libraries/Errors.sol";
import {Party, Phase, Portfolio, Position, Spot, Terms} from "../src/libraries/Types.sol";
import {Margins, RiskParams, Scenario} from "../src/risk/RiskTypes.sol";
import {ChannelTest} from "./utils/ChannelTest.sol";

/// @notice What the lens says is what the contract does: every call is tried at every moment that the lens names, and
/// a second before.
contract ChannelLensTest is ChannelTest {
    uint256 private constant CALLS = 15;
    /// Far enough that a call's day, a lapse and a half are over before.
    uint64 private constant LATER = EXPIRY + 30 days;

    ChannelLens private lens;
    uint256 private tried;

    function setUp() public override {
        super.setUp();
        lens = new ChannelLens(adjudicator);
    }

    /// @dev B has sold calls that its collateral does not cover.
    function _sold() private pure returns (Portfolio memory portfolio) {
        portfolio = onePosition();
        portfolio.positions[0] = option(0, LATER, 3_000e18, 200e18);
        (portfolio.marginA, portfolio.marginB) = (0, 20_000e6);
    }

    function test_agenda_throughALife() public {
        Portfolio memory portfolio = _sold();
        Terms memory terms = defaultTerms();
        _agrees(terms, portfolio);

        bytes32 id = open(terms, DEPOSIT, DEPOSIT);
        checkpoint(terms, 1, portfolio);
        _agrees(terms, portfolio);

        dispute(partyA, terms);
        _agrees(terms, portfolio);

        setSpot(ETH, 4_000e18);
        callMargin(terms, portfolio, Party.B);
        _agrees(terms, portfolio);

        passDeadline(id);
        _agrees(terms, portfolio);
        vm.warp(adjudicator.channel(id).cureEndB);
        _agrees(terms, portfolio);
        vm.warp(block.timestamp + terms.settlementGrace); // lapsed
        _agrees(terms, portfolio);

        setSpot(ETH, 3_500e18);
        release(partyA, terms, portfolio);
        _agrees(terms, portfolio);
        settle(terms, portfolio);
        _agrees(terms, portfolio);

        close(terms, 2, 0);
        _agrees(terms, portfolio);
        vm.assertGe(tried, 1_000);
    }

    function test_agenda_bothCalled() public {
        Portfolio memory portfolio = _sold();
        (Terms memory terms, bytes32 id) = runOff(portfolio);
        uint256 hour = (block.timestamp + 1 days) / 1 hours * 1 hours;
        setCureEnd(id, Party.A, hour);
        setCureEnd(id, Party.B, hour);
        _agrees(terms, portfolio);
        setCureEnd(id, Party.B, hour + 5 hours);
        _agrees(terms, portfolio);
        vm.warp(hour + 5 hours);
        _agrees(terms, portfolio);
        vm.warp(hour + terms.settlementGrace); // the first has lapsed, and its second waits for the other's
        _agrees(terms, portfolio);
        vm.assertEq(lens.agenda(terms).callMarginA.from, hour + 5 hours + terms.settlementGrace);
        setCureEnd(id, Party.B, hour + terms.settlementGrace); // not before A's lapse: no half to wait
        _agrees(terms, portfolio);
        vm.assertEq(lens.agenda(terms).closeOutB.from, hour + terms.settlementGrace);
    }

    /// @dev Tries every call at every moment the agenda names.
    function _agrees(Terms memory terms, Portfolio memory portfolio) private {
        Agenda memory agenda = lens.agenda(terms);
        vm.assertEq(uint256(agenda.phase), uint256(adjudicator.phaseNow(adjudicator.channelId(terms))));
        uint256[] memory words = _words(agenda);
        for (uint256 i = 1; i < words.length; ++i) {
            if (words[i] == 0) continue;
            for (uint256 time = words[i] - 1; time <= words[i]; ++time) {
                if (time < block.timestamp) continue;
                for (uint256 call = 0; call < CALLS; ++call) {
                    (uint256 from, uint256 until) = (words[1 + 2 * call], words[2 + 2 * call]);
                    if (until != 0 && time > until) continue; // the span is over, and another may follow
                    bool possible = from != 0 && from <= time && (until == 0 || time < until);
                    uint256 state = vm.snapshotState();
                    vm.warp(time);
                    bool taken = _taken(call, terms, portfolio);
                    vm.revertToState(state);
                    vm.assertTrue(
                        taken == possible,
                        string.concat(
                            "call ", vm.toString(call), taken ? " taken at " : " refused at ", vm.toString(time)
                        )
                    );
                    ++tried;
                }
            }
        }
    }

    /// @dev Whether the contract takes the call now; that a party is not short, has nothing to release, or has to settle
    /// first, is no answer to when.
    function _taken(uint256 call, Terms memory terms, Portfolio memory portfolio) private returns (bool) {
        bytes32 id = adjudicator.channelId(terms);
        setSpot(ETH, 4_000e18);
        if (block.timestamp >= LATER) setKnown(ETH, LATER, 4_000e18);
        for (uint256 party = 1; party <= 2; ++party) {
            uint256 end = party == 1 ? adjudicator.channel(id).cureEndA : adjudicator.channel(id).cureEndB;
            if (end != 0) setKnown(ETH, uint64(end), 4_000e18);
        }
        uint64 nonce = adjudicator.channel(id).nonce + 1;
        (bytes memory data, address sender) = (_data(call, terms, portfolio, nonce), stranger);
        if (call == 5) {
            // In a running window it acts as `checkpoint`, and has that call's span.
            if (adjudicator.phaseNow(id) == Phase.Disputed) return false;
            sender = signerB;
        } else if (call == 12) {
            sender = partyA;
        } else if (call == 13) {
            sender = partyB;
        }
        vm.prank(sender);
        (bool success, bytes memory result) = address(adjudicator).call(data);
        if (call == 3) return abi.decode(result, (bool));
        if (success) return true;
        bytes4 why = bytes4(result);
        return
            why == Errors.NotShort.selector || why == Errors.NothingToRelease.selector
                || why == Errors.NotSettled.selector;
    }

    function _data(uint256 call, Terms memory terms, Portfolio memory portfolio, uint64 nonce)
        private
        view
        returns (bytes memory)
    {
        if (call == 0) return openData(terms, DEPOSIT, DEPOSIT);
        if (call == 1) return depositData(terms, Party.A, 1);
        if (call == 2) return depositData(terms, Party.B, 1);
        if (call == 3) return checkpointData(terms, nonce, portfolio);
        if (call == 4) return withdrawData(terms, withdrawalOf(terms, nonce, portfolio, 0, 0));
        if (call == 5) return disputeData(terms);
        if (call == 6) return closeData(terms, nonce, 0);
        if (call == 7) return settleData(terms, portfolio);
        if (call == 8) return callMarginData(terms, portfolio, Party.A);
        if (call == 9) return callMarginData(terms, portfolio, Party.B);
        if (call == 10) return closeOutData(terms, portfolio, Party.A);
        if (call == 11) return closeOutData(terms, portfolio, Party.B);
        if (call == 12 || call == 13) return releaseData(terms, portfolio);
        return abandonData(terms);
    }

    function _words(Agenda memory agenda) private pure returns (uint256[] memory words) {
        bytes memory encoded = abi.encode(agenda);
        words = new uint256[](encoded.length / 32);
        vm.assertEq(words.length, 1 + 2 * CALLS);
        for (uint256 i; i < words.length; ++i) {
            assembly {
                mstore(add(words, mul(32, add(i, 1))), mload(add(encoded, mul(32, add(i, 1)))))
            }
        }
    }

    // ---- money

    function test_standing_isCashAndWhatTheEngineSays() public {
        Portfolio memory portfolio = _sold();
        portfolio.netToB = 5_000e6;
        (Terms memory terms,) = open();
        setSpot(ETH, 3_200e18);
        Standing memory standing = lens.standing(terms, risk(), portfolio);

        portfolio.spots[0].price = 3_200e18;
        Margins memory margins = riskEngine.margins(portfolio.positions, portfolio.spots, risk(), UNIT, block.timestamp);
        vm.assertEq(standing.netToB, int256(5_000e6));
        vm.assertEq(standing.cashA, DEPOSIT - 5_000e6);
        vm.assertEq(standing.cashB, DEPOSIT + 5_000e6);
        vm.assertEq(standing.equityA, int256(uint256(DEPOSIT)) - 5_000e6 + margins.valueA);
        vm.assertEq(standing.equityB, int256(uint256(DEPOSIT)) + 5_000e6 + margins.valueB);
        vm.assertEq(standing.initialB, margins.initialB);
        vm.assertEq(standing.maintenanceB, margins.maintenanceB);
        vm.assertEq(standing.initialA, margins.initialA);
        vm.assertEq(standing.maintenanceA, margins.maintenanceA);
        vm.assertTrue(margins.valueA > 0 && margins.maintenanceB > 0);
    }

    /// @dev What has expired counts at its settlement price and takes no part in the margins.
    function test_standing_countsWhatHasExpired() public {
        Portfolio memory portfolio = _sold();
        Position[] memory positions = new Position[](2);
        positions[0] = option(0, EXPIRY, 3_000e18, 10e18);
        positions[1] = portfolio.positions[0];
        portfolio.positions = positions;
        (Terms memory terms,) = open();
        vm.warp(EXPIRY);
        setSpot(ETH, 3_300e18);
        vm.expectRevert(abi.encodeWithSelector(Errors.PriceUnknown.selector, ETH, EXPIRY));
        lens.standing(terms, risk(), portfolio);
        setKnown(ETH, EXPIRY, 3_250e18);
        Standing memory standing = lens.standing(terms, risk(), portfolio);
        vm.assertEq(standing.netToB, -2_500e6); // ten calls, 250 in the money

        Portfolio memory left = _sold();
        left.netToB = -2_500e6;
        vm.assertEq(keccak256(abi.encode(lens.standing(terms, risk(), left))), keccak256(abi.encode(standing)));
    }

    /// @dev To the last unit: with this equity the contract's call succeeds or does not.
    function test_shortfall_isWhatAMarginCallCompares() public {
        Portfolio memory portfolio = _sold();
        (Terms memory terms, bytes32 id) = runOff(portfolio);
        setSpot(ETH, 3_400e18);
        (int256 equity, uint256 maintenance) = lens.shortfall(terms, risk(), portfolio, Party.B);
        vm.assertTrue(equity < int256(maintenance));
        fails(
            callMarginData(terms, portfolio, Party.A),
            abi.encodeWithSelector(Errors.NotShort.selector, _of(terms, portfolio, Party.A), _needs(terms, portfolio))
        );
        send(stranger, depositData(terms, Party.B, uint128(uint256(int256(maintenance) - equity))));
        fails(
            callMarginData(terms, portfolio, Party.B),
            abi.encodeWithSelector(Errors.NotShort.selector, int256(maintenance), maintenance)
        );
        vm.assertEq(adjudicator.channel(id).cureEndB, 0);
    }

    function _of(Terms memory terms, Portfolio memory portfolio, Party party) private view returns (int256 equity) {
        (equity,) = lens.shortfall(terms, risk(), portfolio, party);
    }

    function _needs(Terms memory terms, Portfolio memory portfolio) private view returns (uint256 maintenance) {
        (, maintenance) = lens.shortfall(terms, risk(), portfolio, Party.A);
    }

    function test_refuses_whatTheContractWould() public {
        Portfolio memory portfolio = _sold();
        (Terms memory terms,) = open();
        vm.expectRevert(abi.encodeWithSelector(Errors.SpotTooOld.selector, ETH, 0));
        lens.standing(terms, risk(), portfolio);
        setSpot(ETH, 3_400e18);
        vm.expectRevert(Errors.InvalidParty.selector);
        lens.shortfall(terms, risk(), portfolio, Party.None);
        RiskParams[] memory other = risk();
        other[0].volUp += 1;
        vm.expectRevert(abi.encodeWithSelector(Errors.RiskMismatch.selector, terms.riskHash, riskHashOf(other)));
        lens.standing(terms, other, portfolio);
        vm.expectRevert(abi.encodeWithSelector(Errors.RiskMismatch.selector, terms.riskHash, riskHashOf(other)));
        lens.shortfall(terms, other, portfolio, Party.A);
    }
}
