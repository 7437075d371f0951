// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Signature} from "../libraries/Types.sol";
import {IOracle} from "./IOracle.sol";

/// @title Oracle by k of n attesters.
/// @notice Attesters sign, off chain, the spot and the settlement price of every feed, every hour; nothing is posted
/// until somebody needs it. Then anyone submits k signatures.
///
/// A *round* is everything attested about one (spot or settlement, feed, time). In it each attester counts once, and
/// one that signed two prices is dropped for good. Its price is the median of those that count (of an even number the
/// mean of the middle two, rounded down), once they are at least `threshold`.
///
/// - A spot round serves as soon as it has k; more signatures may still move its median.
/// - A settlement round, once it has k, waits `challengeDelay`, in which anyone may add signatures: who submits cannot
///   choose which k count. Then its price is known, and no signature changes it. If dropping takes it below k within
///   the delay it is open again, and the delay starts anew with the next k-th.
///
/// @dev EIP-712 domain "AttestedOracle", version "1". The two types keep a spot from passing for a settlement price:
/// `Spot(bytes32 feed,uint64 observedAt,uint128 price)` and `Settlement(bytes32 feed,uint64 at,uint128 price)`.
/// **May lose funds**: trusts that fewer than half of the attesters heard in a round collude. Honest ones may be added to
/// a settlement price in its delay and to a last resort in its day. A spot serves with any k: there the colluding must be
/// fewer than half of `threshold`.
interface IAttestedOracle is IOracle {
    /// @notice A spot round now has `count` prices with this median (0 while below the threshold).
    event SpotSubmitted(bytes32 indexed feed, uint64 indexed observedAt, uint256 count, uint128 price);
    /// @notice A settlement round now has `count` prices with this median, known from `knownAt` on (both 0 while below
    /// the threshold).
    event SettlementSubmitted(bytes32 indexed feed, uint64 indexed time, uint256 count, uint128 price, uint256 knownAt);
    /// @notice An attester signed two prices for the same round (`round` is its storage key) and counts no more in it.
    event AttesterDropped(bytes32 indexed round, address indexed attester);
    /// @notice A last resort was recorded: observed at that time (0 = never), final from `finalAt` on.
    event LastResortRecorded(
        bytes32 indexed feed, uint64 indexed time, uint64 observedAt, uint128 price, uint256 finalAt
    );

    /// The attesters are none, more than 32, or one of them is zero or listed twice.
    error InvalidAttesters();
    /// The threshold is 0 or above the number of attesters.
    error InvalidThreshold();
    /// The challenge delay is above a day, or the grace below three days.
    error InvalidDelays();
    /// Prices and signatures differ in number, or there are none.
    error LengthMismatch();
    /// A price of 0.
    error ZeroPrice();
    /// The recovered signer is no attester.
    error UnknownAttester(address signer);
    /// The time lies in the future.
    error InFuture(uint256 time);
    /// Settlement prices are for full hours.
    error NotFullHour(uint256 time);
    /// The price, or the last resort, is final.
    error AlreadyFinal();
    /// The grace has not passed yet.
    error GraceNotOver(uint256 until);
    /// A settlement price is pending or known: no last resort.
    error PriceInSight();
    /// The recorded last resort is as new as any price verified, and the median of that round is still the same.
    error NoNewerObservation(uint256 recorded);

    /// @notice Adds prices observed at one time, each with its attester's signature. Skips attesters already counted.
    /// @return count attesters that now count in the round.
    function submitSpot(bytes32 feed, uint64 observedAt, uint128[] calldata prices, Signature[] calldata signatures)
        external
        returns (uint256 count);

    /// @notice Adds settlement prices for one full hour, each with its attester's signature. Skips attesters already
    /// counted.
    /// @return count attesters that now count in the round.
    function submitSettlement(bytes32 feed, uint64 time, uint128[] calldata prices, Signature[] calldata signatures)
        external
        returns (uint256 count);

    /// @notice The attesters, in the order of construction.
    function attesters() external view returns (address[] memory);

    /// @notice How many attesters must agree to be heard: k.
    function threshold() external view returns (uint8);

    /// @notice Seconds after the k-th settlement signature for which more may be added.
    function challengeDelay() external view returns (uint32);

    /// @notice The last resort recorded for (feed, time): observed when (0 = never), at what price, final from when
    /// (0 = none recorded).
    function lastResort(bytes32 feed, uint64 time)
        external
        view
        returns (uint64 observedAt, uint128 price, uint256 finalAt);

    /// @notice EIP-712 domain separator under the present chain id.
    function domainSeparator() external view returns (bytes32);
}
