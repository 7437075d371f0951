// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IRiskEngine} from "../risk/IRiskEngine.sol";
import {RiskParams, Scenario} from "../risk/RiskTypes.sol";
import {
    ChannelView,
    Closing,
    DisputeAuthorisation,
    Party,
    Permit,
    Phase,
    Portfolio,
    Signature,
    SignedState,
    State,
    Terms,
    Withdrawal
} from "../libraries/Types.sol";

/// @title Adjudicator: holds the collateral of every channel and pays it by the newest state both signed.
/// @notice No owner, no pause, no upgrade: money of a channel goes only to its two parties.
///
/// Phases: None -> Open -> Disputed -> RunOff -> Closed. From `deadline` on a disputed channel is in RunOff.
///
/// | call           | None    | Open    | Disputed      | RunOff  | Closed  |
/// |----------------|---------|---------|---------------|---------|---------|
/// | open           | opens   | reverts | reverts       | reverts | reverts |
/// | openWithPermit | opens   | reverts | reverts       | reverts | reverts |
/// | deposit        | reverts | yes     | yes           | yes (1) | reverts |
/// | checkpoint     | false   | yes     | yes           | false   | false   |
/// | checkpointMany | skips   | yes     | yes           | skips   | skips   |
/// | withdraw       | reverts | yes     | reverts       | reverts | reverts |
/// | dispute        | reverts | yes     | as checkpoint | reverts | reverts |
/// | disputeFor     | reverts | yes     | as checkpoint | reverts | reverts |
/// | settle         | reverts | reverts | reverts       | yes     | reverts |
/// | close          | reverts | yes     | yes           | yes     | reverts |
/// | callMargin     | reverts | reverts | yes (2)       | yes (2) | reverts |
/// | closeOut       | reverts | reverts | reverts       | yes (3) | reverts |
/// | release        | reverts | reverts | reverts       | yes (4) | reverts |
/// | abandon        | reverts | reverts | reverts       | yes (5) | reverts |
///
/// (1) not for a party whose cure has ended, until its margin call is decided. `claim` belongs to no channel.
/// (2) one undecided call a party at a time, on marks that were fresh when the dispute was filed.
/// (3) from the later of the cure's end and the deadline on, for `settlementGrace`; then the call lapses.
/// (4) by a party, for itself, once, while no call on it is undecided and everything that has expired is settled.
/// (5) 180 days after the last possible settlement, and only if `settle` never ran.
///
/// A margin call in full: everything in its decision is as of the cure's end, so that nobody gains by choosing a
/// block (rule 7): prices, times to expiry, age of the marks, which positions have expired. What has expired counts at
/// its settlement price; what is open at the price of the full hour at which the cure ends, known from the oracle; a
/// feed without one blocks the close-out, and its positions run off. Nothing but a close-out ends a call early, also no
/// newer state and no top-up: the test is made once, at the price of the cure's end. Where both parties are called, the
/// later call by the end of the earlier's cure (ends no more than `cureWindow` apart), nobody is favoured: the value is at
/// the vols signed and no penalty is due, and neither is called again before both calls have lapsed. A call that ends later than an undecided one on the other can be decided only from half of `settlementGrace`
/// after the later of its end and the deadline on. All of it hangs on stored ends, not on the time of the decision.
///
/// @dev Trusted assumptions, **may lose funds** where they fail: the collateral is a plain ERC-20 (no fee on transfer,
/// no rebasing); the oracle's prices; each party's signer key, and that it follows the signing rules.
interface IAdjudicator {
    /// @notice Locks both deposits under `terms`, in one transaction or not at all.
    /// @dev Anyone may send it. The parties must have approved this contract; the exact amounts must arrive.
    /// @param validUntil last second at which the signatures are good.
    /// @param signatureA partyA's on the Opening: 64 bytes (EIP-2098), 65 bytes, or what its ERC-1271 wallet takes.
    /// @return id the channel's id, used once, ever.
    function open(
        Terms calldata terms,
        uint128 depositA,
        uint128 depositB,
        uint64 validUntil,
        bytes calldata signatureA,
        bytes calldata signatureB
    ) external returns (bytes32 id);

    /// @notice `open`, with ERC-2612 permits of either party or both in place of approvals made beforehand.
    /// @dev A permit that fails is ignored: anyone may have presented it first. What decides is whether the deposits
    /// can be pulled. A party without one gives `deadline` 0.
    /// @return id the channel's id, used once, ever.
    function openWithPermit(
        Terms calldata terms,
        uint128 depositA,
        uint128 depositB,
        uint64 validUntil,
        bytes calldata signatureA,
        bytes calldata signatureB,
        Permit calldata permitA,
        Permit calldata permitB
    ) external returns (bytes32 id);

    /// @notice Tops `party` up by `amount` from the caller's tokens. Anyone may.
    function deposit(Terms calldata terms, Party party, uint128 amount) external;

    /// @notice Records a newer state: the newest wins (rule 2). Anyone may send it.
    /// @dev Takes the signers and the hash of the terms in place of the terms. `rA, vsA` and `rB, vsB` are the signers'
    /// compact signatures (EIP-2098) on the State.
    /// @return recorded false, before any signature is checked, if the state is not newer, out of its box, past the
    /// deadline, or the channel in another phase. Reverts only for an invalid signature.
    function checkpoint(
        address signerA,
        address signerB,
        bytes32 termsHash,
        uint64 nonce,
        uint64 validUntil,
        bytes32 portfolioHash,
        bytes32 rA,
        bytes32 vsA,
        bytes32 rB,
        bytes32 vsB
    ) external returns (bool recorded);

    /// @notice `checkpoint` of many states, of one channel or several. Anyone may send it.
    /// @dev Skips what `checkpoint` would return false for, and invalid signatures too: one bad state keeps no other
    /// from being recorded. States of one channel go oldest first, or only the newest counts.
    /// @return recorded how many were; `Checkpointed` tells which.
    function checkpointMany(SignedState[] calldata states) external returns (uint256 recorded);

    /// @notice Records the withdrawal's state and pays the two amounts by both signers' word. Anyone may send it. Only
    /// for an Open channel: money moves out of a dispute by its end alone.
    /// @dev The nonce must be newer than recorded, `validUntil` set and at most an hour ahead, each amount at most that
    /// party's cash under the state's `netToB`. Cash won may be withdrawn beyond one's deposits. The state cannot be
    /// recorded by any other call: a Withdrawal is another type than a State.
    function withdraw(
        Terms calldata terms,
        Withdrawal calldata withdrawal,
        Signature calldata signatureA,
        Signature calldata signatureB
    ) external;

    /// @notice Starts the dispute window on what is recorded, down to nonce 0, the empty portfolio. Only for a party or
    /// a signer. In a running window it does nothing: the window is fixed and never extended.
    function dispute(Terms calldata terms) external;

    /// @notice Starts the dispute window on `state` if it is newer than what is recorded, else on that. Only for a
    /// party or a signer. In a running window it acts as `checkpoint`.
    /// @dev The whole portfolio is in calldata so that the other side can rebuild it. A state of this channel not newer is
    /// ignored unread; a newer one out of its box reverts when it would start the window.
    ///
    /// **May lose funds**: if more than `maxInFlight` nonces above the filed one are recorded by the deadline, the
    /// filer pays `stalePenalty` (rule 4).
    /// @return recorded whether `state` was recorded.
    function dispute(
        Terms calldata terms,
        State calldata state,
        Signature calldata signatureA,
        Signature calldata signatureB
    ) external returns (bool recorded);

    /// @notice `dispute` by the delegate of a signer's `authorisation`, up to its `validUntil`, in that signer's name: its
    /// side is the filer and owes any stale penalty.
    /// @dev To dispute on what is recorded, give a state with nonce 0. In a running window it acts as `checkpoint`.
    ///
    /// **May lose funds**: whoever signs an authorisation answers for its delegate. `minNonce` and `validUntil` bound the
    /// damage; keep it at most `maxInFlight` behind the newest state and short-lived.
    /// @param signature one signer's on the authorisation.
    /// @return recorded whether `state` was recorded. What is then recorded must be `minNonce` or newer.
    function disputeFor(
        Terms calldata terms,
        State calldata state,
        Signature calldata signatureA,
        Signature calldata signatureB,
        DisputeAuthorisation calldata authorisation,
        Signature calldata signature
    ) external returns (bool recorded);

    /// @notice From the deadline on: settles every expired position that has a price and pays out when none is left.
    /// Anyone may call it, again and again.
    /// @dev Positions that expire after the end of an undecided cure wait for its decision. What remains is recorded
    /// and emitted: the other positions in order, `netToB` moved, all else as signed. Never reverts on what a portfolio
    /// contains: an unknown kind pays 0, and so does a position that needs a signed spot and has none.
    /// @param portfolio the recorded one, complete.
    /// @return settled how many positions were settled.
    function settle(Terms calldata terms, Portfolio calldata portfolio) external returns (uint256 settled);

    /// @notice Ends the channel by both signers' word and pays everything by cash under `closing.netToB`. Anyone may
    /// send it, in any phase before Closed; a stale penalty is waived.
    /// @dev The nonce must be newer than recorded, `validUntil` set and at most an hour ahead. Reverts if paying
    /// `netToB` would need the clamp.
    function close(
        Terms calldata terms,
        Closing calldata closing,
        Signature calldata signatureA,
        Signature calldata signatureB
    ) external;

    /// @notice Calls `party` for margin: shows that it is short now, and gives it until `cureEnd` to be funded. Anyone may,
    /// in the dispute window or in run-off.
    /// @dev `party` is short if its cash, unclamped, and the value of its positions, at the oracle's spot and at vols
    /// shifted in its favour, are below its maintenance margin. A party whose cash covers the most its positions can cost
    /// is never short. Reverts, and guesses nothing, where the oracle has no spot younger than `maxPriceAge`.
    ///
    /// **May lose funds**: a party that is called and does nothing is closed out, at vols shifted against it, and pays
    /// `defaultPenaltyBps` of its signed margin.
    /// @param risk the parameters that the terms' `riskHash` commits to, complete.
    /// @param portfolio the recorded one, complete.
    /// @param scenarios one for each feed with open positions, in their order, that show enough of the margin (any part of
    /// it is a lower bound); empty for the whole of it, which costs more gas.
    /// @return cureEnd now + `cureWindow`, rounded up to the full hour, so that oracles can price it.
    function callMargin(
        Terms calldata terms,
        RiskParams[] calldata risk,
        Portfolio calldata portfolio,
        Party party,
        Scenario[] calldata scenarios
    ) external returns (uint32 cureEnd);

    /// @notice Ends the channel if the called `party` is still short at the known price of its cure's end: values every
    /// open position, at vols shifted against it, takes the default penalty and pays. Anyone may, from the later of the
    /// cure's end and the deadline on, until the call lapses `settlementGrace` later.
    /// @dev Non-recourse: what the called party owes is taken from its cash, as far as that goes. Arguments as for
    /// `callMargin`; the portfolio is the one recorded now, which may be newer than the one it was called on, or settled
    /// in part.
    function closeOut(
        Terms calldata terms,
        RiskParams[] calldata risk,
        Portfolio calldata portfolio,
        Party party,
        Scenario[] calldata scenarios
    ) external;

    /// @notice In run-off, pays the calling party its cash above what its open positions may still take: the run-off lock
    /// at the oracle's spot, and a stale penalty it owes. Only for a party, once. `settle` goes first.
    /// @return amount what was paid, pushed or left to `claim`. Reverts if there is nothing, so that the one time is kept.
    function release(Terms calldata terms, RiskParams[] calldata risk, Portfolio calldata portfolio)
        external
        returns (uint256 amount);

    /// @notice Ends a channel whose portfolio nobody shows, so that it locks no money for ever: pays cash as if nothing
    /// had been traded (`netToB` 0), clamped, and a stale penalty. Anyone may, 180 days after deadline + maxTenor +
    /// settlementGrace, if `settle` never ran.
    /// @dev **May lose funds**: one who gains by the portfolio has until then to call `settle` with it, once.
    function abandon(Terms calldata terms) external;

    /// @notice Collects the caller's payouts of `token` whose push failed, to any address.
    function claim(address token, address to) external returns (uint256 amount);

    /// @notice What is stored of a channel.
    function channel(bytes32 id) external view returns (ChannelView memory);

    /// @notice The phase that counts, at this block's time.
    function phaseNow(bytes32 id) external view returns (Phase);

    /// @notice What each party would be paid under `netToB`: contributionA - netToB, clamped to the pot, and the rest.
    function cash(bytes32 id, int128 netToB) external view returns (uint256 cashA, uint256 cashB);

    /// @notice Failed payouts of `token` that `payee` can claim.
    function claimable(address token, address payee) external view returns (uint256);

    /// @notice Disputes ever filed here. Raised and emitted by each, so that a monitor can prove it missed none.
    function disputeCount() external view returns (uint256);

    /// @notice Id of the channel of these terms.
    function channelId(Terms calldata terms) external view returns (bytes32);

    /// @notice Prices and margins, stateless, fixed at deployment.
    function riskEngine() external view returns (IRiskEngine);

    /// @notice Chain id at deployment, the one that ids are made of: unlike the domain separator they survive a fork.
    function deploymentChainId() external view returns (uint256);

    /// @notice EIP-712 domain separator under the present chain id.
    function domainSeparator() external view returns (bytes32);
}
