// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IOracle, Status} from "../interfaces/IOracle.sol";
import {Errors} from "./Errors.sol";
import {GasCap} from "./GasCap.sol";

/// @notice Reads an oracle that is assumed hostile (rule 10): gas-capped, sizes checked, never bubbling its errors.
library OracleReader {
    uint256 internal constant ORACLE_GAS = 50_000;

    /// @notice How long after settlementGrace a dead oracle is waited for before the signed spot serves (rule 8).
    uint256 internal constant DEAD_AFTER = 30 days;

    /// @notice The oracle's own grace, or a revert: used at opening, where a failure need not be tolerated.
    function grace(address oracle) internal view returns (uint256) {
        (bool success, uint256 value,) = _read(oracle, abi.encodeCall(IOracle.grace, ()), 32, ORACLE_GAS);
        if (!success || value > type(uint32).max) revert Errors.OracleGraceUnknown(oracle);
        return value;
    }

    /// @notice The price at which what expired at (feed, expiry) settles now (rule 8).
    /// @return known whether it settles now at all: on the known price as soon as there is one; from expiry +
    /// settlementGrace on, on the oracle's last resort; else it waits.
    /// @return price WAD, 0 = none of the oracle's serves and the signed spot does: the oracle said `never` and the
    /// grace is over, or it is still silent or failing `DEAD_AFTER` later.
    function settlementPrice(address oracle, bytes32 feed, uint256 expiry, uint256 settlementGrace)
        internal
        view
        returns (bool known, uint256 price)
    {
        Status status;
        (status, price) = settlement(oracle, feed, expiry);
        if (status == Status.Known) return (true, price);
        uint256 graceEnd = expiry + settlementGrace; // 64 and 32 bits: no overflow
        if (block.timestamp < graceEnd) return (false, 0);
        if (status == Status.LastResort) return (true, price);
        return (status == Status.Never || block.timestamp >= graceEnd + DEAD_AFTER, 0);
    }

    /// @notice The oracle's answer; anything malformed, a price of 0 or beyond 128 bits, or a failure is `Unset`.
    function settlement(address oracle, bytes32 feed, uint256 time) internal view returns (Status, uint256) {
        GasCap.ensure(ORACLE_GAS);
        (bool success, uint256 status, uint256 price) =
            _read(oracle, abi.encodeCall(IOracle.settlementPrice, (feed, uint64(time))), 64, ORACLE_GAS);
        if (!success) return (Status.Unset, 0);
        if (status == uint256(Status.Never)) return (Status.Never, 0);
        if (status != uint256(Status.Known) && status != uint256(Status.LastResort)) return (Status.Unset, 0);
        if (price == 0 || price > type(uint128).max) return (Status.Unset, 0);
        return (Status(status), price);
    }

    /// @notice The oracle's spot with this gas at most; (0, 0) for a failure, anything malformed, or no price.
    function spot(address oracle, bytes32 feed, uint256 gasCap)
        internal
        view
        returns (uint256 price, uint256 updatedAt)
    {
        GasCap.ensure(gasCap);
        bool success;
        (success, price, updatedAt) = _read(oracle, abi.encodeCall(IOracle.spot, (feed)), 64, gasCap);
        if (!success || price > type(uint128).max || updatedAt > block.timestamp) return (0, 0);
    }

    /// @dev First two words of the answer; fails if it is shorter than `leastSize`. Copies no more than that.
    function _read(address oracle, bytes memory input, uint256 leastSize, uint256 cap)
        private
        view
        returns (bool success, uint256 first, uint256 second)
    {
        assembly ("memory-safe") {
            success := staticcall(cap, oracle, add(input, 0x20), mload(input), 0x00, 0x40)
            success := and(success, iszero(lt(returndatasize(), leastSize)))
            first := mload(0x00)
            second := mload(0x20)
        }
    }
}
