// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAdjudicator} from "./interfaces/IAdjudicator.sol";
import {Agenda, IChannelLens, Span, Standing} from "./interfaces/IChannelLens.sol";
import {ChannelSlot, ChannelSlotLibrary} from "./libraries/ChannelSlot.sol";
import {Contributions, ContributionsLibrary} from "./libraries/Contributions.sol";
import {Errors} from "./libraries/Errors.sol";
import {Hashing} from "./libraries/Hashing.sol";
import {MarginCalls} from "./libraries/MarginCalls.sol";
import {Settlement} from "./libraries/Settlement.sol";
import {ChannelView, Party, Phase, Portfolio, Position, Spot, Terms} from "./libraries/Types.sol";
import {IRiskEngine} from "./risk/IRiskEngine.sol";
import {Margins, RiskParams, Scenario} from "./risk/RiskTypes.sol";

/// @title ChannelLens: what clients ask before they call the Adjudicator.
/// @notice Documented in `IChannelLens`. Built of the libraries that the Adjudicator decides by.
contract ChannelLens is IChannelLens {
    /// @inheritdoc IChannelLens
    IAdjudicator public immutable adjudicator;

    constructor(IAdjudicator adjudicator_) {
        adjudicator = adjudicator_;
    }

    /// @inheritdoc IChannelLens
    function agenda(Terms calldata terms) external view returns (Agenda memory calls) {
        ChannelSlot slot = ChannelSlotLibrary.pack(adjudicator.channel(adjudicator.channelId(terms)));
        calls.phase = slot.phaseAt(block.timestamp);
        if (calls.phase == Phase.None) calls.open = _now();
        if (calls.phase == Phase.None || calls.phase == Phase.Closed) return calls;
        (calls.depositA, calls.depositB, calls.close) = (_now(), _now(), _now());
        if (calls.phase == Phase.Open) {
            (calls.checkpoint, calls.withdraw, calls.dispute) = (_now(), _now(), _now());
            return calls;
        }
        uint256 deadline = slot.deadline();
        if (calls.phase == Phase.Disputed) calls.checkpoint = Span(block.timestamp, deadline);
        calls.settle = Span(_later(deadline), 0);
        if (!slot.settled()) calls.abandon = Span(_later(Settlement.abandonFrom(slot, terms)), 0);
        (calls.depositA, calls.callMarginA, calls.closeOutA, calls.releaseA) = _margin(slot, terms, Party.A);
        (calls.depositB, calls.callMarginB, calls.closeOutB, calls.releaseB) = _margin(slot, terms, Party.B);
    }

    /// @inheritdoc IChannelLens
    function standing(Terms calldata terms, RiskParams[] calldata risk, Portfolio calldata portfolio)
        external
        view
        returns (Standing memory result)
    {
        MarginCalls.requireAgreed(terms, risk);
        (Contributions contributions, int256 netToB) = _money(terms, portfolio);
        (result.cashA, result.cashB) = contributions.cash(netToB);
        Margins memory margins = _riskEngine()
            .margins(_open(portfolio), MarginCalls.spots(terms, portfolio), risk, terms.unit, block.timestamp);
        result.netToB = netToB;
        result.equityA = contributions.unclampedCash(Party.A, netToB) + margins.valueA;
        result.equityB = contributions.unclampedCash(Party.B, netToB) + margins.valueB;
        (result.initialA, result.initialB) = (margins.initialA, margins.initialB);
        (result.maintenanceA, result.maintenanceB) = (margins.maintenanceA, margins.maintenanceB);
    }

    /// @inheritdoc IChannelLens
    function shortfall(Terms calldata terms, RiskParams[] calldata risk, Portfolio calldata portfolio, Party party)
        external
        view
        returns (int256 equity, uint256 maintenance)
    {
        if (party == Party.None) revert Errors.InvalidParty();
        MarginCalls.requireAgreed(terms, risk);
        (Contributions contributions, int256 netToB) = _money(terms, portfolio);
        (equity, maintenance) = _riskEngine()
            .assess(
                portfolio.positions,
                MarginCalls.spots(terms, portfolio),
                risk,
                terms.unit,
                portfolio.markedAt,
                block.timestamp,
                party == Party.A ? int256(1) : -1,
                new Scenario[](0)
            );
        equity += contributions.unclampedCash(party, netToB);
    }

    // ---- money

    /// @dev What was put in, and `netToB` once everything that has expired is settled.
    function _money(Terms calldata terms, Portfolio calldata portfolio)
        private
        view
        returns (Contributions contributions, int256 netToB)
    {
        ChannelView memory view_ = adjudicator.channel(adjudicator.channelId(terms));
        contributions = ContributionsLibrary.pack(view_.contributionA, view_.contributionB);
        netToB = Settlement.netAsOf(terms, portfolio, Hashing.hash(portfolio), block.timestamp);
    }

    function _open(Portfolio calldata portfolio) private view returns (Position[] memory open) {
        Position[] calldata positions = portfolio.positions;
        open = new Position[](positions.length);
        uint256 count;
        for (uint256 i; i < positions.length; ++i) {
            if (positions[i].expiry > block.timestamp) open[count++] = positions[i];
        }
        assembly ("memory-safe") {
            mstore(open, count) // it only gets shorter
        }
    }

    function _riskEngine() private view returns (IRiskEngine) {
        return adjudicator.riskEngine();
    }

    // ---- times

    /// @dev What the margin calls on `party` allow, in the window and in run-off.
    function _margin(ChannelSlot slot, Terms calldata terms, Party party)
        private
        view
        returns (Span memory deposit, Span memory callMargin, Span memory closeOut, Span memory release)
    {
        uint256 decided = _now().from;
        deposit = _now();
        if (Settlement.callUndecided(slot, party, terms.settlementGrace)) {
            decided = Settlement.decidableFrom(slot, party) + terms.settlementGrace;
            uint256 cureEnd = slot.cureEnd(party);
            deposit = block.timestamp < cureEnd ? Span(block.timestamp, cureEnd) : Span(decided, 0);
            closeOut = Span(_later(MarginCalls.decidableFrom(slot, party, terms.settlementGrace)), decided);
        }
        callMargin = Span(_callableFrom(slot, terms, party, decided), 0);
        if (!slot.released(party)) release = Span(decided > slot.deadline() ? decided : slot.deadline(), 0);
    }

    /// @dev A second call on `party` waits for the other's, too.
    function _callableFrom(ChannelSlot slot, Terms calldata terms, Party party, uint256 from)
        private
        view
        returns (uint256)
    {
        Party other = party == Party.A ? Party.B : Party.A;
        if (!MarginCalls.together(slot, terms.cureWindow)) return from;
        if (!Settlement.callUndecided(slot, other, terms.settlementGrace)) return from;
        uint256 lapse = Settlement.decidableFrom(slot, other) + terms.settlementGrace;
        return lapse > from ? lapse : from;
    }

    function _now() private view returns (Span memory) {
        return Span(block.timestamp, 0);
    }

    function _later(uint256 time) private view returns (uint256) {
        return time > block.timestamp ? time : block.timestamp;
    }
}
