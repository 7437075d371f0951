// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IOracle, Status} from "../../src/interfaces/IOracle.sol";

/// @notice An oracle that says what it is told to, and misbehaves on request.
contract FakeOracle is IOracle {
    enum Fault {
        None,
        Reverts,
        BurnsGas,
        ReturnsNothing,
        ReturnsOneWord,
        ReturnsBadStatus,
        ReturnsMuch
    }

    struct Answer {
        Status status;
        uint256 price;
    }

    uint32 public grace = 3 days;
    Fault public fault;
    /// Gas a good answer takes besides its own.
    uint256 public effort;
    mapping(bytes32 => mapping(uint64 => Answer)) public answers;
    mapping(bytes32 => uint256[2]) public spots;
    bool public spotFails;
    /// Gas a good spot takes besides its own.
    uint256 public spotEffort;

    function setGrace(uint32 grace_) external {
        grace = grace_;
    }

    function setFault(Fault fault_) external {
        fault = fault_;
    }

    function setEffort(uint256 effort_) external {
        effort = effort_;
    }

    function set(bytes32 feed, uint64 time, Status status, uint256 price) external {
        answers[feed][time] = Answer(status, price);
    }

    function setSpot(bytes32 feed, uint256 price, uint256 time) external {
        spots[feed] = [price, time];
    }

    /// @notice A spot of this very second. Read here, since a test's own view of the time may be older than its last warp.
    function setSpotNow(bytes32 feed, uint256 price) external {
        spots[feed] = [price, block.timestamp];
    }

    function setSpotFails(bool fails) external {
        spotFails = fails;
    }

    function setSpotEffort(uint256 effort_) external {
        spotEffort = effort_;
    }

    function spot(bytes32 feed) external view returns (uint256, uint256) {
        require(!spotFails, "spot");
        uint256 start = gasleft();
        while (start - gasleft() < spotEffort) {}
        return (spots[feed][0], spots[feed][1]);
    }

    function settlementPrice(bytes32 feed, uint64 time) external view returns (Status, uint256) {
        if (fault == Fault.Reverts) revert("oracle");
        if (fault == Fault.BurnsGas) {
            while (true) {}
        }
        if (fault == Fault.ReturnsNothing) {
            assembly {
                return(0, 0)
            }
        }
        if (fault == Fault.ReturnsOneWord) {
            assembly {
                mstore(0, 1)
                return(0, 32)
            }
        }
        if (fault == Fault.ReturnsBadStatus) {
            assembly {
                mstore(0, 9)
                mstore(32, 1000000000000000000)
                return(0, 64)
            }
        }
        if (fault == Fault.ReturnsMuch) {
            assembly {
                return(0, 20000)
            }
        }
        uint256 start = gasleft();
        while (start - gasleft() < effort) {}
        Answer memory answer = answers[feed][time];
        return (answer.status, answer.price);
    }

    function recordLastResort(bytes32, uint64) external {}
}
