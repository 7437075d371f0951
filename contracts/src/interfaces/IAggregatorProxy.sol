// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AggregatorV3Interface} from "@chainlink/contracts/src/v0.8/shared/interfaces/AggregatorV3Interface.sol";

/// @title A Chainlink proxy: its package's interface, and the phase, which no interface there has.
/// @notice A proxy stands before one aggregator after another, its phases 1, 2, 3... A round id holds both: the phase in
/// its upper 16 bits, the aggregator's own round, from 1 on, in the lower 64. The aggregators themselves answer only to
/// those they know, so that old rounds too are read through the proxy. What a missing round gives differs by
/// aggregator: a revert, or zeros.
interface IAggregatorProxy is AggregatorV3Interface {
    /// @notice The phase that now serves.
    function phaseId() external view returns (uint16);
}
