// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Party, Phase} from "./Types.sol";

/// @notice Why the Adjudicator refuses a call.
library Errors {
    // ---- terms, refused at opening (rule 11)

    /// A party, a signer, the collateral or the oracle is the zero address.
    error ZeroAddress();
    /// Both parties, both signers, or a party and the other's signer are the same address.
    error SidesNotDistinct();
    /// `unit` is zero: nothing would ever be paid.
    error ZeroUnit();
    /// `riskHash` is zero: no parameters were agreed.
    error ZeroRiskHash();
    /// `disputeWindow` outside 1 h to 30 d.
    error DisputeWindowOutOfBounds(uint256 value);
    /// `cureWindow` outside 1 h to 7 d.
    error CureWindowOutOfBounds(uint256 value);
    /// `settlementGrace` below the oracle's own grace + 2 d, or above 30 d.
    error SettlementGraceOutOfBounds(uint256 value, uint256 least);
    /// `maxPriceAge` outside 60 s to 1 d.
    error MaxPriceAgeOutOfBounds(uint256 value);
    /// `maxMarkAge` outside 1 h to 14 d.
    error MaxMarkAgeOutOfBounds(uint256 value);
    /// `maxTenor` outside 1 d to 10 years.
    error MaxTenorOutOfBounds(uint256 value);
    /// `maxInFlight` outside 8 to 64.
    error MaxInFlightOutOfBounds(uint256 value);
    /// `defaultPenaltyBps` above 5,000.
    error DefaultPenaltyOutOfBounds(uint256 value);
    /// There is no contract at the RiskEngine's address; refused at deployment.
    error NoRiskEngine(address given);
    /// The oracle does not tell its grace.
    error OracleGraceUnknown(address oracle);

    // ---- signatures

    /// Not a low-s signature of `expected` over this value, in this domain.
    error InvalidSignature(address expected);
    /// The time up to which the signature was good has passed, or none is set where one must be.
    error Expired(uint256 validUntil);
    /// `validUntil` is more than an hour ahead.
    error ValidUntilTooFar(uint256 validUntil);
    /// The signed value is for another channel than the terms.
    error WrongChannel(bytes32 expected, bytes32 given);

    // ---- phase and order

    /// The call is not for a channel in this phase.
    error WrongPhase(Phase phase);
    /// The id was used before; an id is used once, ever.
    error ChannelExists(bytes32 id);
    /// Not newer than what is recorded (rule 2).
    error NonceNotNewer(uint256 recorded, uint256 given);
    /// The caller is neither a party nor a signer of the channel.
    error NotAMember(address caller);
    /// The authorisation is for another delegate than the caller.
    error NotTheDelegate(address delegate, address caller);
    /// The authorisation is signed by neither signer of the channel (zero = not a signature at all).
    error NotASigner(address recovered);
    /// The authorisation is not for disputes on a nonce that old.
    error NonceBelowMinimum(uint256 minNonce, uint256 nonce);
    /// Neither A nor B.
    error InvalidParty();
    /// The portfolio is not the one recorded.
    error PortfolioMismatch(bytes32 recorded, bytes32 given);
    /// The cure of that party has ended and its margin call is undecided: no top-up before the decision.
    error CureEnded(uint256 cureEnd);
    /// The portfolio was shown to `settle`: the channel ends by settling, not by `abandon`.
    error PortfolioShown();
    /// The portfolio may still be shown: `abandon` is for `from` on.
    error TooEarlyToAbandon(uint256 from);
    /// A time would pass what 32 bits hold (year 2106).
    error TimeOverflow();

    // ---- margin calls and run-off

    /// The margin parameters are not those that the terms' `riskHash` commits to.
    error RiskMismatch(bytes32 expected, bytes32 given);
    /// That party was called, and the call is undecided: one at a time; none on the other either, if the two are one case.
    error CallUndecided(Party party, uint256 cureEnd);
    /// No call on that party is undecided: it was never called, or the call has lapsed.
    error NoCall(Party party);
    /// The call can be decided from `from` on.
    error TooEarlyToCloseOut(uint256 from);
    /// When the dispute was filed the marks were older than `maxMarkAge`: they were made before `oldest`.
    error MarksTooOld(uint256 markedAt, uint256 oldest);
    /// The oracle's spot is older than `maxPriceAge`, or it has none (0).
    error SpotTooOld(bytes32 feed, uint256 updatedAt);
    /// There is no price for that time (yet): of a position that has expired, or of a cure's end.
    error PriceUnknown(bytes32 feed, uint256 time);
    /// The party's equity covers what is shown of its maintenance margin.
    error NotShort(int256 equity, uint256 maintenance);
    /// A position has expired and is still in the portfolio: `settle` comes first.
    error NotSettled(bytes32 feed, uint256 expiry);
    /// Only a party may, for itself.
    error NotAParty(address caller);
    /// That party has had its release.
    error AlreadyReleased(Party party);
    /// The party's cash is not above what must stay.
    error NothingToRelease(uint256 cash, uint256 locked);

    // ---- money

    /// A deposit of nothing.
    error ZeroAmount();
    /// The pot would exceed 2^119 - 1 base units, or a contribution what 128 bits hold.
    error PotTooLarge();
    /// The token moved another amount than asked: fee-on-transfer and rebasing tokens are not supported.
    error WrongAmountReceived(uint256 expected, uint256 received);
    /// A transfer the call depends on failed.
    error TransferFailed(address token);
    /// The token does not tell our balance.
    error BalanceUnknown(address token);
    /// `netToB` of the closing is beyond what a party has: paying it would need the clamp.
    error ClosingNeedsClamp(int256 cashA, uint256 pot);
    /// The withdrawal pays `party` more than its cash.
    error AmountAboveCash(Party party, uint256 amount, uint256 cash);
    /// The caller has no failed payout of this token.
    error NothingToClaim();
    /// A token, an oracle or a wallet called back while it was being called.
    error Reentrancy();
    /// Too little gas left to give an external call its whole cap, so its failure would prove nothing. Send more.
    error InsufficientGas();
}
