// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

// What the two parties sign, and what the contract keeps of it. Every struct here is an EIP-712 type of the domain
// `OptionChannels` / `1`; member names and order are part of the signed type.

/// @notice Life of a channel. From the deadline on a disputed channel *is* in RunOff, whatever is stored.
enum Phase {
    None,
    Open,
    Disputed,
    RunOff,
    Closed
}

/// @notice One side of a channel; `None` where there is none yet, as the filer of a channel never disputed.
enum Party {
    None,
    A,
    B
}

/// @notice What both agreed once, at opening. Not stored and not emitted: calls bring it along and the channel's id
/// commits to it. Windows and ages in seconds, amounts in collateral base units.
struct Terms {
    /// Funds the channel and is paid by it. Any address, also an ERC-1271 wallet.
    address partyA;
    address partyB;
    /// Session keys that sign states. Always externally owned.
    address signerA;
    address signerB;
    address collateral;
    /// Collateral base units paid per 1.0 of price; a digital pays 1.0.
    uint128 unit;
    address oracle;
    uint32 disputeWindow;
    uint32 cureWindow;
    /// How long an expiry's price is waited for before the oracle's last resort serves.
    uint32 settlementGrace;
    uint32 maxPriceAge;
    uint32 maxMarkAge;
    uint32 maxTenor;
    /// How far a recorded nonce may exceed the filed one before the filing counts as stale.
    uint16 maxInFlight;
    uint128 stalePenalty;
    uint16 defaultPenaltyBps;
    /// EIP-712 hash of the array of risk parameters, sorted by feed.
    bytes32 riskHash;
    bytes32 salt;
}

/// @notice One option series and a quantity as party A holds it (+ = A is long). Prices, quantities, vol and carry WAD.
struct Position {
    bytes32 feed;
    /// 0 call, 1 put, 2 digital call, 3 digital put, 4 forward. Others settle at 0.
    uint8 kind;
    uint64 expiry;
    uint128 strike;
    int128 quantity;
    uint128 vol;
    int128 carry;
}

/// @notice The price of a feed at which a portfolio was marked, WAD.
struct Spot {
    bytes32 feed;
    uint128 price;
}

/// @notice Cash moved, both initial margins, the time of the marks, the marks, the open positions.
struct Portfolio {
    /// What A has paid B net since opening, collateral base units.
    int128 netToB;
    uint128 marginA;
    uint128 marginB;
    uint64 markedAt;
    Spot[] spots;
    Position[] positions;
}

/// @notice What both sign. `validUntil` 0 is permanent, else the state is boxed: accepted only up to that time.
struct State {
    bytes32 channelId;
    uint64 nonce;
    uint64 validUntil;
    Portfolio portfolio;
}

/// @notice Both parties' word to lock their deposits under `terms`, up to and including `validUntil`.
struct Opening {
    Terms terms;
    uint128 depositA;
    uint128 depositB;
    uint64 validUntil;
}

/// @notice A state that also pays two amounts out.
struct Withdrawal {
    State state;
    uint128 amountA;
    uint128 amountB;
}

/// @notice Both signers' word to end the channel and pay everything by cash under `netToB`.
struct Closing {
    bytes32 channelId;
    uint64 nonce;
    uint64 validUntil;
    int128 netToB;
}

/// @notice A signer's word that `delegate` may dispute in its name, from `minNonce` on and up to `validUntil`.
struct DisputeAuthorisation {
    bytes32 channelId;
    address delegate;
    uint64 minNonce;
    uint64 validUntil;
}

/// @notice Compact ECDSA signature (EIP-2098): the top bit of `vs` is the parity of v, the rest is s.
struct Signature {
    bytes32 r;
    bytes32 vs;
}

/// @notice What `checkpoint` takes, as one value: a state of which only the portfolio's hash is given, and both signers'
/// signatures on it.
struct SignedState {
    address signerA;
    address signerB;
    bytes32 termsHash;
    uint64 nonce;
    uint64 validUntil;
    bytes32 portfolioHash;
    Signature signatureA;
    Signature signatureB;
}

/// @notice A party's ERC-2612 permit for the Adjudicator to take `value`. `deadline` 0 = none given.
struct Permit {
    uint256 value;
    uint256 deadline;
    uint8 v;
    bytes32 r;
    bytes32 s;
}

/// @notice What the contract stores of a channel, decoded. Everything but `phase` is 0 once closed.
struct ChannelView {
    /// As stored; see `IAdjudicator.phaseNow` for the phase that counts.
    Phase phase;
    /// Of the newest state recorded; 0 = none.
    uint64 nonce;
    /// What was recorded when the dispute was filed.
    uint64 filedNonce;
    Party filer;
    /// First second of run-off.
    uint32 deadline;
    /// When the cure of a margin call on that party ends; 0 = never called.
    uint32 cureEndA;
    uint32 cureEndB;
    /// `ChannelSlot` draws the bits.
    uint16 flags;
    bytes32 portfolioHash;
    /// Deposits less payments. May be negative; their sum never is.
    int128 contributionA;
    int128 contributionB;
}
