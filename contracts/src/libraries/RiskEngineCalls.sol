// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IRiskEngine} from "../risk/IRiskEngine.sol";
import {RiskParams, Scenario} from "../risk/RiskTypes.sol";
import {Portfolio, Position, Spot} from "./Types.sol";

/// @notice Calls of RiskEngine with the positions, parameters and scenarios that this call itself was given, copied as they
/// lie in calldata: decoding and encoding 128 positions again would cost more gas and more code than all else here.
/// @dev RiskEngine checks every word it reads, so nothing unchecked gets in this way.
library RiskEngineCalls {
    /// @notice What every question is about: the engine, the terms' unit, the moment, and the prices then.
    struct Query {
        IRiskEngine engine;
        uint256 unit;
        uint256 time;
        Spot[] prices;
    }

    /// @dev Sizes in words.
    uint256 private constant POSITION = 7;
    uint256 private constant SPOT = 2;
    uint256 private constant RISK_PARAMS = 14;
    uint256 private constant SCENARIO = 3;
    /// Three offsets of arrays, four plain arguments, the offset of the scenarios.
    uint256 private constant HEAD = 8;

    /// @notice `IRiskEngine.assess` of `side`.
    function assess(
        Query memory query,
        Portfolio calldata portfolio,
        RiskParams[] calldata risk,
        Scenario[] calldata scenarios,
        int256 side
    ) internal view returns (int256 value, uint256 maintenance) {
        uint256[4] memory plain = [query.unit, portfolio.markedAt, query.time, uint256(side)];
        (uint256 first, uint256 second) =
            _call(query, IRiskEngine.assess.selector, portfolio.positions, risk, plain, scenarios);
        return (int256(first), second);
    }

    /// @notice `IRiskEngine.closeOutValue` after a default of `called`.
    function closeOutValue(Query memory query, Portfolio calldata portfolio, RiskParams[] calldata risk, int256 called)
        internal
        view
        returns (int256)
    {
        uint256[4] memory plain = [query.unit, portfolio.markedAt, query.time, uint256(called)];
        (uint256 value,) = _call(query, IRiskEngine.closeOutValue.selector, portfolio.positions, risk, plain, _none());
        return int256(value);
    }

    /// @notice `IRiskEngine.runOffLock` of `side`.
    function runOffLock(Query memory query, Portfolio calldata portfolio, RiskParams[] calldata risk, int256 side)
        internal
        view
        returns (uint256 lock)
    {
        uint256[4] memory plain = [query.unit, query.time, uint256(side), 0];
        (lock,) = _call(query, IRiskEngine.runOffLock.selector, portfolio.positions, risk, plain, _none());
    }

    function _none() private pure returns (Scenario[] calldata none) {
        assembly ("memory-safe") {
            none.offset := 0
            none.length := 0
        }
    }

    /// @dev The first two words of the answer. The head is as long as `assess` needs; what a function does not take lies
    /// between its own head and the arrays, where its decoder does not look.
    function _call(
        Query memory query,
        bytes4 selector,
        Position[] calldata positions,
        RiskParams[] calldata risk,
        uint256[4] memory plain,
        Scenario[] calldata scenarios
    ) private view returns (uint256 first, uint256 second) {
        IRiskEngine engine = query.engine;
        Spot[] memory spots = query.prices;
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, selector)
            let head := add(start, 0x04) // where offsets count from
            let end := add(head, shl(5, HEAD)) // of what is written
            mcopy(add(head, 0x60), plain, 0x80) // the four plain arguments, after three offsets

            mstore(head, sub(end, head)) // positions
            mstore(end, positions.length)
            let size := mul(positions.length, shl(5, POSITION))
            calldatacopy(add(end, 0x20), positions.offset, size)
            end := add(add(end, 0x20), size)

            mstore(add(head, 0x20), sub(end, head)) // spots, from an array of pointers
            let count := mload(spots)
            mstore(end, count)
            end := add(end, 0x20)
            for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                mcopy(end, mload(add(spots, shl(5, add(i, 1)))), shl(5, SPOT))
                end := add(end, shl(5, SPOT))
            }

            mstore(add(head, 0x40), sub(end, head)) // parameters
            mstore(end, risk.length)
            size := mul(risk.length, shl(5, RISK_PARAMS))
            calldatacopy(add(end, 0x20), risk.offset, size)
            end := add(add(end, 0x20), size)

            mstore(add(head, 0xe0), sub(end, head)) // scenarios
            mstore(end, scenarios.length)
            size := mul(scenarios.length, shl(5, SCENARIO))
            calldatacopy(add(end, 0x20), scenarios.offset, size)
            end := add(add(end, 0x20), size)

            // The memory is left to whoever allocates next: nothing keeps a pointer into it.
            if iszero(staticcall(gas(), engine, start, sub(end, start), 0x00, 0x40)) {
                returndatacopy(start, 0, returndatasize())
                revert(start, returndatasize())
            }
            first := mload(0x00)
            second := mload(0x20) // left over from before where the function answers with one word
        }
    }
}
