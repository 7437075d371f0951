"""A bound on how long a key may take.

A channel steps one event at a time and signs within a step, so what a key takes, the channel's
next event waits: a message, a head, a dispute. Filing what is already signed needs no key, but it
too comes through that step. **A key without a deadline may lose funds.**
"""

from __future__ import annotations

import trio

from channels.errors import InvalidValueError, SignerError
from channels.protocol.eip712 import Address
from channels.protocol.signing import Signable, Signature, Signer

__all__ = ["DeadlineSigner"]


class DeadlineSigner:
    """A signer that answers or fails in time."""

    def __init__(self, signer: Signer, seconds: float) -> None:
        """Give ``signer`` at most ``seconds`` for each signature.

        The signer must leave when it is cancelled, as those of this package do.

        Raises:
            InvalidValueError: no time at all.
        """
        if not seconds > 0:
            raise InvalidValueError(f"{seconds} seconds are no time to sign in")
        self._signer = signer
        self._seconds = seconds

    def __repr__(self) -> str:
        return f"DeadlineSigner({self._signer!r}, {self._seconds:g})"

    @property
    def address(self) -> Address:
        """The key's address."""
        return self._signer.address

    async def sign(self, signable: Signable) -> Signature:
        """Sign one struct, in time.

        Raises:
            SignerError: the key cannot or will not sign, or took too long; what it may still sign
                after that reaches nobody.
        """
        with trio.move_on_after(self._seconds):
            return await self._signer.sign(signable)
        raise SignerError(
            f"the key gave no signature within {self._seconds:g} seconds",
            next_step="see whether the signer runs, and signs without asking a person",
        )
