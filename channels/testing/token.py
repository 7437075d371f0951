"""A token in memory that keeps to its standards: EIP-20, EIP-2612."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

from channels.errors import BadSignatureError, InvalidValueError
from channels.protocol.calls import Permit
from channels.protocol.eip712 import (
    Address,
    address_word,
    digest,
    domain_separator,
    keccak,
    type_hash,
    word,
)
from channels.protocol.signing import Signature, recover

__all__ = ["UNLIMITED", "ModelToken"]

UNLIMITED = 2**256 - 1
"""An allowance that is not used up."""

_PERMIT_TYPE_HASH = type_hash(
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)


class ModelToken:
    """Balances, allowances and permits of one token, in its base units.

    A payee for whom `refuse_payments` was called gets no transfer, as on a token's blocklist.
    """

    def __init__(self, address: Address, *, name: str = "Test Dollar", chain_id: int = 1) -> None:
        """Make a token without supply; ``name`` and ``chain_id`` are those of its permits."""
        self.address = address
        self._separator = domain_separator(name, "1", chain_id, address)
        self._balances: Counter[Address] = Counter()
        self._allowances: Counter[tuple[Address, Address]] = Counter()
        self._permits_used: Counter[Address] = Counter()
        self._refused: set[Address] = set()

    def balance(self, owner: Address) -> int:
        """What ``owner`` has."""
        return self._balances[owner]

    def allowance(self, owner: Address, spender: Address) -> int:
        """What ``spender`` may still take of ``owner``'s."""
        return self._allowances[owner, spender]

    def mint(self, owner: Address, amount: int) -> None:
        """Give ``owner`` any amount."""
        self._balances[owner] += amount

    def approve(self, spender: Address, amount: int, *, sender: Address) -> None:
        """Let ``spender`` take up to ``amount`` of the sender's, any number of times together."""
        self._allowances[sender, spender] = amount

    def refuse_payments(self, payee: Address) -> None:
        """Let every transfer to ``payee`` fail from now on."""
        self._refused.add(payee)

    def allow_payments(self, payee: Address) -> None:
        """Let transfers to ``payee`` through again."""
        self._refused.discard(payee)

    def transfer(self, payee: Address, amount: int, *, sender: Address) -> bool:
        """Move tokens of the sender's, and tell whether they went; else nothing has changed."""
        if payee in self._refused or self._balances[sender] < amount:
            return False
        self._balances[sender] -= amount
        self._balances[payee] += amount
        return True

    def transfer_from(
        self, owner: Address, payee: Address, amount: int, *, sender: Address
    ) -> bool:
        """Move tokens of ``owner``'s by its allowance, and tell whether they went."""
        allowed = self._allowances[owner, sender]
        if allowed < amount or not self.transfer(payee, amount, sender=owner):
            return False
        if allowed != UNLIMITED:
            self._allowances[owner, sender] = allowed - amount
        return True

    def permit_digest(
        self, owner: Address, spender: Address, *, value: int, deadline: int
    ) -> bytes:
        """What ``owner`` signs for its next permit."""
        body = (address_word(owner), address_word(spender))
        numbers = map(word, (value, self._permits_used[owner], deadline))
        return digest(self._separator, keccak(b"".join((_PERMIT_TYPE_HASH, *body, *numbers))))

    def permit(self, owner: Address, spender: Address, permit: Permit, *, now: int) -> bool:
        """Take ``owner``'s permit in place of an approval, and tell whether it was good."""
        message = self.permit_digest(owner, spender, value=permit.value, deadline=permit.deadline)
        try:
            good = now <= permit.deadline and recover(permit.signature, message) == owner
        except BadSignatureError:
            good = False
        if good:
            self._permits_used[owner] += 1
            self._allowances[owner, spender] = permit.value
        return good

    def copy(self) -> ModelToken:
        """A token that has now what this one has, and goes its own way from here."""
        twin = copy(self)
        twin._balances, twin._allowances = self._balances.copy(), self._allowances.copy()
        twin._permits_used, twin._refused = self._permits_used.copy(), self._refused.copy()
        return twin

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Undo what is done to the token in this block if the block is left by an exception."""
        before = self._balances.copy(), self._allowances.copy(), self._permits_used.copy()
        try:
            yield
        except BaseException:
            self._balances, self._allowances, self._permits_used = before
            raise


def read_signature(signature: bytes) -> Signature | None:
    """Read a wallet's 64 (EIP-2098) or 65 bytes; None if they are no signature."""
    try:
        return Signature(signature) if len(signature) == 64 else Signature.from_expanded(signature)
    except InvalidValueError:
        return None
