// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAggregatorProxy} from "../../src/interfaces/IAggregatorProxy.sol";

/// @notice A Chainlink proxy of which the test writes every round, in any phase.
contract FakeProxy is IAggregatorProxy {
    struct Round {
        int256 answer;
        uint256 startedAt;
        uint256 updatedAt;
    }

    uint8 public decimals;
    uint16 public phaseId = 1;
    uint80 public latest;
    /// Missing rounds revert, as old aggregators do, or are zeros, as newer ones do.
    bool public missingRevert;
    /// Gas a round takes besides its own.
    uint256 public effort;
    mapping(uint80 => Round) public rounds;

    constructor(uint8 decimals_) {
        decimals = decimals_;
    }

    function setPhase(uint16 phase) external {
        phaseId = phase;
    }

    function setMissingRevert(bool reverts) external {
        missingRevert = reverts;
    }

    function setEffort(uint256 effort_) external {
        effort = effort_;
    }

    function set(uint80 id, int256 answer, uint256 updatedAt) external {
        rounds[id] = Round(answer, updatedAt, updatedAt);
        if (id > latest) latest = id;
    }

    function setStarted(uint80 id, uint256 startedAt) external {
        rounds[id].startedAt = startedAt;
    }

    function getRoundData(uint80 id) public view returns (uint80, int256, uint256, uint256, uint80) {
        uint256 start = gasleft();
        while (start - gasleft() < effort) {}
        Round memory round = rounds[id];
        require(!missingRevert || round.updatedAt != 0, "No data present");
        return (id, round.answer, round.startedAt, round.updatedAt, id);
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return getRoundData(latest);
    }
}
