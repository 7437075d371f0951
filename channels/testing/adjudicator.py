"""The Adjudicator in memory: what the contract does, without a chain."""

from __future__ import annotations

from channels.protocol.calls import (
    Abandon,
    Call,
    CallMargin,
    Checkpoint,
    CheckpointMany,
    Claim,
    Close,
    CloseOut,
    Deposit,
    Dispute,
    DisputeFor,
    Open,
    OpenWithPermit,
    Release,
    Settle,
    Withdraw,
)
from channels.protocol.eip712 import Address
from channels.testing.agreed import AgreedCalls
from channels.testing.disputes import DisputeCalls
from channels.testing.margin_calls import MarginCalls

__all__ = ["ModelAdjudicator"]


class ModelAdjudicator(AgreedCalls, DisputeCalls, MarginCalls):
    """The contract's rules as plain Python: every call, refusal and payment, nothing else.

    It is a reference, written from the design and compared with the contract over random games, and
    a fake for tests: put it where your code would call the chain. It keeps no clock: ``now`` is the
    timestamp of the block that a call is in, ``sender`` who sends it. Both are the caller's to
    choose; the model does not notice a clock that goes backwards.

    A call that raises `RefusedError` has changed nothing. Amounts are base units of the
    collateral. Outside the model: gas, reentrancy, wallets of ERC-1271, tokens that take a fee, and
    calldata that is no value of `channels.protocol`. What the contract would emit is told by
    `take_events`.

    >>> from channels.protocol.calls import Claim
    >>> from channels.protocol.terms import Domain
    >>> me = bytes([7] * 20)
    >>> adjudicator = ModelAdjudicator(
    ...     Domain(chain_id=1, adjudicator=bytes(19) + bytes([1])), tokens=[], oracles=[]
    ... )
    >>> adjudicator.send(Claim(token=bytes([8] * 20), recipient=me), sender=me, now=0)
    Traceback (most recent call last):
        ...
    channels.testing.refusals.RefusedError: NothingToClaim()
    """

    def send(self, call: Call, *, sender: Address, now: int) -> bytes | int | None:
        """Do what the contract does on ``call``, and answer as it does.

        Raises:
            RefusedError: the contract would revert; nothing has changed.
        """
        match call:
            case Open():
                return self.open(call, now=now)
            case OpenWithPermit():
                return self.open_with_permit(call, now=now)
            case Deposit():
                self.deposit(call, sender=sender, now=now)
            case Checkpoint():
                return self.checkpoint(call, now=now)
            case CheckpointMany():
                return self.checkpoint_many(call, now=now)
            case Withdraw():
                self.withdraw(call, now=now)
            case Dispute():
                return self.dispute(call, sender=sender, now=now)
            case DisputeFor():
                return self.dispute_for(call, sender=sender, now=now)
            case Settle():
                return self.settle(call, now=now)
            case Close():
                self.close(call, now=now)
            case CallMargin():
                return self.call_margin(call, now=now)
            case CloseOut():
                self.close_out(call, now=now)
            case Release():
                return self.release(call, sender=sender, now=now)
            case Abandon():
                self.abandon(call, now=now)
            case Claim():
                return self.claim(call, sender=sender)
        return None
