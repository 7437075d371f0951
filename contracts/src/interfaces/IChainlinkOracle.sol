// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IOracle} from "./IOracle.sol";

/// @title Oracle by the rounds of Chainlink's price feeds.
/// @notice A settlement price is the time-weighted average of the answers over [time - 30 min, time], computed from the
/// rounds themselves: whoever calls names the round live at the start, its successors are walked from there.
///
/// - *Live* at a time is the last round updated at or before it. The one live at the start may be at most the feed's
///   heartbeat and five minutes old.
/// - The walk ends at the first round updated after `time`. As long as a phase serves there must be one: until then the
///   window is not over. In a phase that another has replaced, the last round counts to the end.
/// - All rounds are of one phase: the oldest that was live, and not stale, at the start. New phases are added behind it
///   and never change the answer, whenever it is asked for. Of every older phase the caller shows that it was not.
/// - A round without a time is missing. At most three in a row are looked past.
/// - An answer of zero or below, or of 2^128 or more in WAD, makes the price unprovable rather than guessed.
/// - Whether a round carries an older answer on (`answeredInRound`, deprecated) is not read: it counts as its answer at
///   its own time.
/// - On an L2 the sequencer must have been up for the whole window, by its uptime feed; for a spot, for an hour.
///
/// @dev **May lose funds**: trusts Chainlink, that `updatedAt` never falls within a phase, that no aggregator reports a
/// round later than with a time before the last round's, that no phase lacks more than three rounds in a row, and that a
/// feed's decimals stay as they were at construction.
interface IChainlinkOracle is IOracle {
    /// @notice A feed served: its name here, Chainlink's proxy, and the longest time between its rounds in seconds.
    struct Feed {
        bytes32 feed;
        address proxy;
        uint32 heartbeat;
    }

    /// @notice The settlement price of (feed, time) is known, for ever.
    event SettlementRecorded(bytes32 indexed feed, uint64 indexed time, uint128 price);
    /// @notice The newest round verified at or before `time` is now this one.
    event RoundVerified(bytes32 indexed feed, uint64 indexed time, uint80 round, uint64 observedAt, uint128 price);
    /// @notice The last resort of (feed, time) is the newest price verified, of a round or a settlement before it, final
    /// from `finalAt` on. Until then a newer one may be verified, or the settlement price recorded.
    event LastResortRecorded(
        bytes32 indexed feed, uint64 indexed time, uint64 observedAt, uint128 price, uint256 finalAt
    );

    /// There are no feeds, one is listed twice, has no proxy, a heartbeat of 0 or above a week, or above 18 decimals.
    error InvalidFeeds();
    /// The grace is below three days.
    error InvalidGrace();
    /// No such feed here.
    error UnknownFeed(bytes32 feed);
    /// Prices are for full hours.
    error NotFullHour(uint256 time);
    /// The time has not passed, or no round after it has been reported yet.
    error WindowNotOver(uint256 time);
    /// The price, or the last resort, is final.
    error AlreadyFinal();
    /// One round of each older phase is asked for, in order.
    error PhasesIncomplete();
    /// The round was not live at that time: it is later, missing, or has a successor by then.
    error NotLive(uint80 round, uint256 time);
    /// The round live at the start of the window is too old.
    error TooOld(uint80 round, uint256 updatedAt);
    /// An older phase still served at the start of the window: the price is its.
    error OlderPhaseServes(uint80 round);
    /// The answer of this round is zero, negative or too large.
    error InvalidAnswer(uint80 round, int256 answer);
    /// This round's time is before its predecessor's.
    error OutOfOrder(uint80 round);
    /// More than 512 rounds in the window.
    error TooManyRounds();
    /// By its uptime feed the sequencer was not up, or the round given does not show that it was.
    error SequencerDown(uint80 round);
    /// The round is missing, or later than the time it is given for.
    error NotBefore(uint80 round, uint256 time);
    /// The grace has not passed yet.
    error GraceNotOver(uint256 until);
    /// A price as new as this one is verified already; or the last resort is recorded, with nothing newer settled since.
    error NoNewerObservation(uint256 verified);

    /// @notice Records the settlement price of `feed` at `time`. Anyone may; the price is the same whoever does.
    /// @param time a full hour.
    /// @param first the round live half an hour before `time`.
    /// @param older for each phase before that of `first`, in order, the round live then; with 0 in the lower 64 bits, the
    /// phase had none yet.
    /// @param sequencerRound the uptime feed's round live then; ignored without an uptime feed.
    /// @return price WAD.
    function recordSettlement(bytes32 feed, uint64 time, uint80 first, uint80[] calldata older, uint80 sequencerRound)
        external
        returns (uint256 price);

    /// @notice Verifies one round updated at or before `time`, for its last resort. Anyone may, also before the grace is
    /// over; the newest counts, whatever the order.
    function verifyRound(bytes32 feed, uint64 time, uint80 round) external;

    /// @notice A feed's proxy and heartbeat; zeros if it is not served.
    function source(bytes32 feed) external view returns (address proxy, uint32 heartbeat);

    /// @notice The L2 sequencer's uptime feed; zero on a chain without one.
    function sequencerFeed() external view returns (address);

    /// @notice The newest price verified for (feed, time): observed when (0 = none), at what price; and as a last resort
    /// final from when (0 = not recorded as one).
    function lastResort(bytes32 feed, uint64 time)
        external
        view
        returns (uint64 observedAt, uint128 price, uint256 finalAt);
}
