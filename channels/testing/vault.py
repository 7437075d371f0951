"""The collateral in the contract's hands: what it pulls, pushes, and owes to whom a push failed.

Source: design, adjudication.md "Money" and rule 10.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

from channels.protocol.calls import Permit
from channels.protocol.eip712 import Address
from channels.protocol.terms import Terms
from channels.protocol.types import Party
from channels.testing.refusals import Refusals
from channels.testing.token import ModelToken

__all__ = ["Vault"]


class Vault:
    """Tokens of every channel, and the payouts that wait to be claimed."""

    def __init__(self, holder: Address, tokens: Iterable[ModelToken]) -> None:
        """Hold tokens at the address ``holder``."""
        self._holder = holder
        self._tokens = {each.address: each for each in tokens}
        self._claimable: Counter[tuple[Address, Address]] = Counter()

    def copy(self) -> Vault:
        """A vault that owes now what this one owes, with tokens of its own."""
        twin = Vault(self._holder, (each.copy() for each in self._tokens.values()))
        twin._claimable = self._claimable.copy()
        return twin

    def token(self, address: Address) -> ModelToken:
        """The token at this address."""
        return self._tokens[address]

    def knows(self, token: Address) -> bool:
        """Whether there is such a token."""
        return token in self._tokens

    @contextmanager
    def all_or_nothing(self, token: Address) -> Iterator[None]:
        """Undo what is done to ``token`` in this block if the block is left by an exception."""
        with self._tokens[token].all_or_nothing() if self.knows(token) else nullcontext():
            yield

    def permit(self, token: Address, owner: Address, permit: Permit, *, now: int) -> None:
        """Present ``owner``'s permit; what becomes of it shows when tokens are pulled."""
        if self.knows(token):
            self._tokens[token].permit(owner, self._holder, permit, now=now)

    def claimable(self, token: Address, payee: Address) -> int:
        """Failed payouts of ``token`` that ``payee`` can claim."""
        return self._claimable[token, payee]

    def pull(self, refusals: Refusals, token: Address, owner: Address, amount: int) -> None:
        """Take ``amount`` from ``owner`` by its allowance, or note that the token refuses."""
        refusals.when(not self.knows(token), "BalanceUnknown", token=token)
        taken = self.knows(token) and self._tokens[token].transfer_from(
            owner, self._holder, amount, sender=self._holder
        )
        refusals.when(not taken, "TransferFailed", token=token)

    def pay(self, terms: Terms, amounts: tuple[int, int]) -> list[tuple[Address, int]]:
        """Pay A and B; what the token refuses to push is theirs to claim: payees and amounts."""
        deferred = []
        for party, amount in zip(Party, amounts, strict=True):
            payee = terms.party(party)
            token = self._tokens[terms.collateral]
            if amount and not token.transfer(payee, amount, sender=self._holder):
                self._claimable[terms.collateral, payee] += amount
                deferred.append((payee, amount))
        return deferred

    def claim(self, token: Address, to: Address, *, sender: Address) -> int:
        """Pay the sender what it can claim, to any address.

        Raises:
            RefusedError: nothing to claim, or the token refuses again.
        """
        refusals = Refusals()
        refusals.when(to == bytes(20), "ZeroAddress")
        amount = self._claimable[token, sender]
        refusals.when(amount == 0, "NothingToClaim")
        refusals.stop()
        sent = self._tokens[token].transfer(to, amount, sender=self._holder)
        refusals.when(not sent, "TransferFailed", token=token)
        refusals.stop()
        del self._claimable[token, sender]
        return amount
