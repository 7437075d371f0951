// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title What we use of a Chainlink proxy.
/// @notice A proxy stands before one aggregator after another, its phases 1, 2, 3... A round id holds both: the phase in
/// its upper 16 bits, the aggregator's own round, from 1 on, in the lower 64. The aggregators themselves answer only to
/// those they know, so that old rounds too are read through the proxy.
interface IAggregatorProxy {
    /// @notice Digits after the point of an answer.
    function decimals() external view returns (uint8);

    /// @notice The phase that now serves.
    function phaseId() external view returns (uint16);

    /// @notice One round. What a missing one gives differs by aggregator: a revert, or zeros.
    function getRoundData(uint80 id)
        external
        view
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound);

    /// @notice The newest round of the phase that now serves.
    function latestRoundData()
        external
        view
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound);
}
