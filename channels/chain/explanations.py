"""What each custom error of the contracts means: whose fault it is, why, and what to do next.

A table of every error that any contract of this package can revert with; a test finds each in the
compiled ABIs, and each of theirs here. Where the counterparty may have brought a refusal about by
acting first, that is nobody's fault but the chain's: it says what is so now.

Source: the NatSpec of `contracts/src/libraries/Errors.sol` and of the interfaces.
"""

from __future__ import annotations

from typing import Final

import attrs

from channels.errors import BugError, ChainError, OurError, PeerError

__all__ = ["EXPLANATIONS", "UNEXPLAINED", "Explanation"]


@attrs.frozen
class Explanation:
    """Whose fault a refusal is (as `channels.errors` names it), why, and what to do next."""

    fault: str
    why: str
    next_step: str


def _ours(why: str, next_step: str) -> Explanation:
    return Explanation(OurError.fault, why, next_step)


def _peers(why: str, next_step: str) -> Explanation:
    return Explanation(PeerError.fault, why, next_step)


def _chains(why: str, next_step: str) -> Explanation:
    return Explanation(ChainError.fault, why, next_step)


def _bug(why: str, next_step: str) -> Explanation:
    return Explanation(BugError.fault, why, next_step)


def _out_of_bounds(term: str) -> Explanation:
    return _ours(
        f"{term} of the terms is outside the bounds of every channel",
        "agree on terms within the bounds, which `check_terms` knows, and sign a new Opening",
    )


_READ_AGAIN: Final = "read the channel again and decide anew"
_REPORT: Final = "report it; both sides check it before they sign"

UNEXPLAINED: Final = _chains(
    "the contract gave no reason that this package knows",
    "check the contract's address; a wallet, a token or an oracle has errors of its own",
)

_TERMS: Final = {
    "ZeroAddress": _ours(
        "a party, a signer, the collateral or the oracle is the zero address",
        "agree on terms with all six addresses",
    ),
    "SidesNotDistinct": _ours(
        "both parties, both signers, or a party and the other's signer are one address",
        "agree on terms with addresses of each side's own",
    ),
    "ZeroUnit": _ours("`unit` is zero: nothing would ever be paid", "agree on terms with a unit"),
    "ZeroRiskHash": _ours(
        "no margin parameters were agreed", "agree on terms with the `risk_hash` of some"
    ),
    "DisputeWindowOutOfBounds": _out_of_bounds("`dispute_window`"),
    "CureWindowOutOfBounds": _out_of_bounds("`cure_window`"),
    "SettlementGraceOutOfBounds": _out_of_bounds("`settlement_grace`"),
    "MaxPriceAgeOutOfBounds": _out_of_bounds("`max_price_age`"),
    "MaxMarkAgeOutOfBounds": _out_of_bounds("`max_mark_age`"),
    "MaxTenorOutOfBounds": _out_of_bounds("`max_tenor`"),
    "MaxInFlightOutOfBounds": _out_of_bounds("`max_in_flight`"),
    "DefaultPenaltyOutOfBounds": _out_of_bounds("`default_penalty_bps`"),
    "NoRiskEngine": _ours(
        "no contract stands at the RiskEngine's address", "deploy the RiskEngine first"
    ),
    "OracleGraceUnknown": _ours(
        "what stands at the oracle's address does not tell its grace",
        "check the oracle's address and chain",
    ),
}

_SIGNATURES: Final = {
    "InvalidSignature": _ours(
        "a signature is not its signer's over these very values in this domain",
        "check chain id, Adjudicator and signer; a peer checks all signatures before it sends them",
    ),
    "Expired": _ours(
        "the last second at which the signatures were good has passed, or none was set",
        "sign again with a later `valid_until`",
    ),
    "ValidUntilTooFar": _ours(
        "a Closing or a Withdrawal is signed for more than an hour ahead",
        "send it later, within an hour of `valid_until`, or sign it anew",
    ),
    "WrongChannel": _ours(
        "what was signed is for another channel than the terms",
        "send it with the terms of its own channel",
    ),
}

_ORDER: Final = {
    "WrongPhase": _chains("the channel is in a phase without this call", _READ_AGAIN),
    "ChannelExists": _ours(
        "the id was used before, and one is used once, ever",
        "if the channel is not open already, agree on terms with another salt",
    ),
    "NonceNotNewer": _chains(
        "the chain has recorded a state as new as this one",
        _READ_AGAIN + "; withdraw or close under a higher nonce",
    ),
    "NotAMember": _ours(
        "the sending account is neither a party nor a signer",
        "send from a party's or a signer's account, or as a delegate with `DisputeFor`",
    ),
    "NotTheDelegate": _ours(
        "the authorisation is for another delegate than the sending account",
        "send from the delegate's account",
    ),
    "NotASigner": _ours(
        "neither signer of the channel has signed the authorisation",
        "ask a signer for an authorisation of this channel on this chain",
    ),
    "NonceBelowMinimum": _ours(
        "the authorisation is for disputes on newer states only",
        "dispute with a state of its `min_nonce` or newer, or ask for another authorisation",
    ),
    "InvalidParty": _bug("neither A nor B was named", _REPORT),
    "PortfolioMismatch": _chains(
        "the portfolio is not the one recorded now",
        "read the channel again and send the recorded portfolio",
    ),
    "CureEnded": _chains(
        "the party's cure has ended and its margin call is undecided: no top-up before that",
        "wait for the close-out, or for the call to lapse",
    ),
    "PortfolioShown": _chains(
        "somebody has shown the portfolio: the channel ends by settling", "settle what has expired"
    ),
    "TooEarlyToAbandon": _ours(
        "the portfolio may still be shown", "wait until `from`, or find the portfolio and settle"
    ),
    "TimeOverflow": _ours("a time would lie beyond the year 2106", "agree on shorter windows"),
}

_MARGIN: Final = {
    "RiskMismatch": _ours(
        "these are not the margin parameters that the terms commit to",
        "send those of the opening, complete and sorted by feed",
    ),
    "CallUndecided": _chains(
        "a call on that party waits for its decision, and holds up a second one",
        "wait for the close-out, or for the call to lapse",
    ),
    "NoCall": _chains(
        "no call on the party waits for its decision: never made, or lapsed",
        "call for margin first, if the party is still short",
    ),
    "TooEarlyToCloseOut": _ours(
        "the call cannot be decided yet: its cure or the window lasts, or the other's goes first",
        "send it from `from` on",
    ),
    "MarksTooOld": _chains(
        "the marks were already stale when the dispute was filed: old vols make nobody default",
        "let the positions run off; re-mark more often, or dispute sooner",
    ),
    "SpotTooOld": _chains(
        "the oracle has no spot of this feed that is young enough",
        "bring the oracle a newer price, or wait for one",
    ),
    "PriceUnknown": _chains(
        "the oracle does not know a price that decides",
        "record the price with the oracle; without one the positions run off",
    ),
    "NotSettled": _chains(
        "a position has expired and is still in the portfolio",
        "settle first; what expired after the end of an undecided cure waits for its decision",
    ),
    "NotShort": _chains(
        "the party's equity covers what is shown of its maintenance margin",
        "show the whole margin, without scenarios, or wait: the party is funded",
    ),
    "NotAParty": _ours(
        "the sending account is neither party's", "send from the account of the party itself"
    ),
    "AlreadyReleased": _chains("the party has had its one release", "settle what has expired"),
    "NothingToRelease": _ours(
        "the cash is not above what must stay in for the open positions",
        "settle what has expired, or wait for the positions to shrink",
    ),
}

_MONEY: Final = {
    "ZeroAmount": _ours("a deposit of nothing", "deposit an amount above zero"),
    "PotTooLarge": _ours(
        "the channel would hold more than 2^119 base units", "deposit less, or use several channels"
    ),
    "WrongAmountReceived": _ours(
        "the token moved another amount than asked: such tokens are not supported",
        "use a collateral without fees on transfer and without rebasing",
    ),
    "TransferFailed": _ours(
        "the collateral could not be moved",
        "check balance and allowance of whoever pays, and that the token blocks neither address",
    ),
    "BalanceUnknown": _ours(
        "the collateral does not tell its balances", "check the collateral's address and chain"
    ),
    "ClosingNeedsClamp": _ours(
        "`net_to_b` of the Closing is beyond what a party has",
        "agree on a Closing that the deposits can pay",
    ),
    "AmountAboveCash": _ours(
        "the Withdrawal pays a party more than its cash", "agree on smaller amounts"
    ),
    "NothingToClaim": _chains(
        "no payout of this token waits for the sending account",
        "send from the payee's account; it may have been claimed already",
    ),
    "Reentrancy": _peers(
        "a token, an oracle or a wallet called the Adjudicator back",
        "do not open channels with that contract",
    ),
    "InsufficientGas": _ours("too little gas for an external call's whole cap", "send more gas"),
}

_RISK_ENGINE: Final = {
    "PricingDomainError": _chains(
        "a figure is outside the domain of the pricing engine, where nothing is decided",
        "check marks and prices; the positions run off at their settlement prices",
    ),
    "PositionsOutOfOrder": _bug("positions are out of canonical order", _REPORT),
    "FeedsOutOfOrder": _bug("spots or margin parameters are out of the order of feeds", _REPORT),
    "NoSpot": _bug("a feed with positions has no spot", _REPORT),
    "NoRiskParams": _ours(
        "a feed with positions has no margin parameters",
        "let the positions run off; agree on parameters of every feed that is traded",
    ),
    "RiskParamOutOfBounds": _ours(
        "a margin parameter is outside the bounds of every channel",
        "agree on parameters within `RISK_BOUNDS`; peers check them before they sign",
    ),
    "NoSuchScenario": _ours(
        "the feed has no such scenario, or there is not one for each feed with open positions",
        "name others, as `worst_scenarios` does for the time that decides, or none",
    ),
    "InvalidSide": _bug("neither A nor B was named", _REPORT),
}

_ORACLES: Final = {
    "InvalidAttesters": _ours(
        "there are no attesters, too many, or one is zero or listed twice",
        "deploy with 1 to 32 different attesters",
    ),
    "InvalidThreshold": _ours(
        "the threshold is zero or above the number of attesters", "deploy with another threshold"
    ),
    "InvalidDelays": _ours(
        "a delay or the grace is out of the oracle's bounds", "deploy with other delays"
    ),
    "InvalidSources": _ours("the two sources are one, or one is zero", "deploy with two oracles"),
    "InvalidFeeds": _ours(
        "there are no feeds, or one is listed twice, has no proxy or an impossible heartbeat",
        "deploy with other feeds",
    ),
    "InvalidGrace": _ours("the grace is below three days", "deploy with a longer grace"),
    "LengthMismatch": _ours(
        "prices and signatures differ in number, or there are none",
        "submit one signature with each price",
    ),
    "ZeroPrice": _ours("a price of zero", "ask the attesters for a price above zero"),
    "UnknownAttester": _ours(
        "a signature is not that of an attester of this oracle",
        "check chain id, oracle and price; leave that signature out",
    ),
    "InFuture": _ours("the time has not come yet", "submit it once the chain has passed it"),
    "NotFullHour": _ours("prices are for full hours only", "ask for the price of a full hour"),
    "AlreadyFinal": _chains("the price is final already", "read it: it stays as it is"),
    "GraceNotOver": _ours(
        "the last resort may not be recorded yet", "wait until `until`, or bring the price itself"
    ),
    "PriceInSight": _chains(
        "a settlement price is known or pending: no last resort", "wait for it, or record it"
    ),
    "NoNewerObservation": _chains(
        "a price as new is verified, or the last resort recorded, already",
        "verify a newer round, or wait until the last resort is final",
    ),
    "NoPriceYet": _chains(
        "the primary has no price, and the secondary none or not its turn",
        "bring either its price, or wait for the delay to pass",
    ),
    "NoBetterResort": _chains(
        "the recorded last resort is as good as any there is", "wait until it is final"
    ),
    "UnknownFeed": _ours("the oracle does not serve this feed", "check the feed and the oracle"),
    "WindowNotOver": _chains(
        "the time has not passed, or no round after it has been reported",
        "try again after the feed's next round",
    ),
    "PhasesIncomplete": _ours(
        "one round of each older phase of the feed is asked for, in order",
        "name them, as `find_rounds` does",
    ),
    "NotLive": _ours(
        "the round is not the last one at or before the start of the window",
        "name the one that is, as `find_rounds` does",
    ),
    "TooOld": _chains(
        "the round live at the start of the window is older than the feed's heartbeat allows",
        "there is no such price: wait for the last resort",
    ),
    "OlderPhaseServes": _ours(
        "an older phase of the feed still served: the price is its",
        "name that phase's round as the first, as `find_rounds` does",
    ),
    "InvalidAnswer": _chains(
        "a round's answer is zero, negative or too large to be a price",
        "there is no such price: wait for the last resort",
    ),
    "OutOfOrder": _chains(
        "a round's time is before its predecessor's",
        "there is no such price: wait for the last resort",
    ),
    "TooManyRounds": _chains(
        "more rounds in the window than can be averaged",
        "there is no such price: wait for the last resort",
    ),
    "SequencerDown": _chains(
        "the sequencer was not up for the whole window, or the round does not show it",
        "name the uptime feed's round live then; if it was down, wait for the last resort",
    ),
    "NotBefore": _ours(
        "the round is missing, or later than the time it is given for", "name an earlier round"
    ),
}

_TOKENS: Final = {
    "InsufficientAllowance": _ours(
        "the Adjudicator may not take as much", "approve it for the deposit, then try again"
    ),
    "InsufficientBalance": _ours(
        "the account has not as much of the token", "fund it with collateral, then try again"
    ),
    "InvalidPermit": _ours(
        "the permit is not its owner's over these values at its present nonce",
        "sign a new permit; another one may have been presented since",
    ),
    "PermitExpired": _ours("the permit's deadline has passed", "sign a new permit"),
    "AllowanceOverflow": _ours("the allowance would not fit 256 bits", "approve less"),
    "AllowanceUnderflow": _ours("the allowance would be below zero", "lower it by less"),
    "TotalSupplyOverflow": _ours("the supply would not fit 256 bits", "mint less"),
    "Permit2AllowanceIsFixedAtInfinity": _ours(
        "the token gives Permit2 an allowance that cannot be changed", "approve another spender"
    ),
}

_ANY_CONTRACT: Final = {
    "NoEffect": _chains(
        "mined now it would record nothing: not newer, out of its box, or in another phase",
        _READ_AGAIN,
    ),
    "Reverted": _chains(
        "the contract gave no reason",
        "check that the contract stands at its address; a token or an oracle may lack the function",
    ),
    "Error": _chains(
        "the contract gave its reason in words", "read it; it is not this package's contract"
    ),
    "Panic": _bug("an arithmetic fault or a wrong encoding", "report it with the calldata"),
}

EXPLANATIONS: Final = {
    **_TERMS,
    **_SIGNATURES,
    **_ORDER,
    **_MARGIN,
    **_MONEY,
    **_RISK_ENGINE,
    **_ORACLES,
    **_TOKENS,
    **_ANY_CONTRACT,
}
"""By the error's name; oracles that share a name share its meaning."""
