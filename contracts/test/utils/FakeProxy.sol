// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {MockV3Aggregator} from "@chainlink/contracts/src/v0.8/shared/mocks/MockV3Aggregator.sol";

import {IAggregatorProxy} from "../../src/interfaces/IAggregatorProxy.sol";

/// @notice A Chainlink proxy before one of Chainlink's mock aggregators for each phase; the test writes their rounds.
/// @dev Forwards as Chainlink's proxies do: the phase is taken off the id and put back on. Theirs is for one compiler
/// version, which is not ours.
contract FakeProxy is IAggregatorProxy {
    uint8 public immutable decimals;
    uint256 public constant version = 0;
    string public constant description = "FakeProxy";
    uint16 public phaseId = 1;
    /// Missing rounds revert, as old aggregators' do, or are zeros, as the mock's.
    bool public missingRevert;
    /// Gas a round takes besides its own.
    uint256 public effort;
    mapping(uint256 phase => MockV3Aggregator) public phaseAggregators;
    /// By id, where a round was answered in an earlier one; the mock always answers in the same.
    mapping(uint80 id => uint80) public carriedFrom;

    constructor(uint8 decimals_) {
        decimals = decimals_;
        _aggregator(1);
    }

    function setPhase(uint16 phase) external {
        phaseId = phase;
        _aggregator(phase);
    }

    function setMissingRevert(bool reverts) external {
        missingRevert = reverts;
    }

    function setEffort(uint256 effort_) external {
        effort = effort_;
    }

    /// @notice Writes a round; whichever was written last is its phase's latest.
    function set(uint80 id, int256 answer, uint256 updatedAt) external {
        set(id, answer, updatedAt, updatedAt);
    }

    function set(uint80 id, int256 answer, uint256 updatedAt, uint256 startedAt) public {
        _aggregator(id >> 64).updateRoundData(uint64(id), answer, updatedAt, startedAt);
    }

    function setCarriedFrom(uint80 id, uint80 earlier) external {
        carriedFrom[id] = earlier;
    }

    function getRoundData(uint80 id) external view returns (uint80, int256, uint256, uint256, uint80) {
        uint256 start = gasleft();
        while (start - gasleft() < effort) {}
        (uint80 round, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredIn) =
            phaseAggregators[id >> 64].getRoundData(uint64(id));
        require(!missingRevert || updatedAt != 0, "No data present");
        uint80 phase = id >> 64 << 64;
        if (carriedFrom[id] != 0) answeredIn = carriedFrom[id];
        return (phase | round, answer, startedAt, updatedAt, phase | answeredIn);
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        (uint80 round, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredIn) =
            phaseAggregators[phaseId].latestRoundData();
        uint80 phase = uint80(phaseId) << 64;
        return (phase | round, answer, startedAt, updatedAt, phase | answeredIn);
    }

    /// @dev The phase's aggregator, made when it is first named, without the round that the mock begins with.
    function _aggregator(uint256 phase) private returns (MockV3Aggregator aggregator) {
        aggregator = phaseAggregators[phase];
        if (address(aggregator) != address(0)) return aggregator;
        aggregator = phaseAggregators[phase] = new MockV3Aggregator(decimals, 0);
        aggregator.updateRoundData(1, 0, 0, 0);
    }
}
