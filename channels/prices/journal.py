"""What an attester has signed: durable before it is signed, one price for one feed, kind and time.

An attester that signs two is dropped from that round by the oracle, and anybody can show that it
did. So a price is stored first, and only that price is ever signed, by this process or a later one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, cast

import attrs
import trio

from channels.chain.attestations import Attestation, OracleDomain, SettlementPrice, SpotPrice
from channels.chain.records import RecordStore
from channels.errors import SigningRefusedError, StorageError
from channels.protocol.eip712 import Address, digest
from channels.protocol.signing import Signable, Signature, Signer, check_digest
from channels.protocol.types import feed_name
from channels.units import DAY

__all__ = ["PriceJournal"]

_KEPT: Final = DAY
"""Seconds for which spots are kept. Settlement prices are kept for ever: 24 a day and feed."""

_KINDS: Final[Mapping[bytes, type[SpotPrice] | type[SettlementPrice]]] = {
    b"s": SpotPrice,
    b"h": SettlementPrice,
}
_TAGS: Final = {kind: tag for tag, kind in _KINDS.items()}
_KEY: Final = 1 + 32 + 8
_PROMISED: Final = 16
_SIGNED: Final = _PROMISED + 64


@attrs.frozen
class _Statement:
    """What a key signs: the digest of a price in the oracle's domain."""

    domain: OracleDomain
    price: SpotPrice | SettlementPrice

    @property
    def digest(self) -> bytes:
        """The 32 bytes that are signed."""
        return digest(self.domain.separator, self.price.struct_hash)


class PriceJournal:
    """Signs prices with one key for one oracle, and remembers them.

    Args:
        signer: the attester's key: any that signs a digest it is given, so not a remote one.
        domain: of the oracle.
        records: a namespace that this key and this oracle have to themselves.
    """

    def __init__(self, signer: Signer, domain: OracleDomain, records: RecordStore) -> None:
        self._signer = signer
        self._domain = domain
        self._records = records
        self._promised: dict[bytes, int] = {}
        self._signed: dict[bytes, Attestation] = {}
        self._spots: defaultdict[bytes, dict[int, Attestation]] = defaultdict(dict)
        self._newest: dict[bytes, int] = {}
        self._alone = trio.Lock()

    @property
    def address(self) -> Address:
        """Whose signatures these are."""
        return self._signer.address

    async def start(self) -> None:
        """Read what was signed before.

        Raises:
            StorageError: the records cannot be read, or are none of this journal's.
        """
        for key, record in sorted((await self._records.load()).items()):
            if len(key) != _KEY or key[:1] not in _KINDS or len(record) not in (_PROMISED, _SIGNED):
                raise StorageError(
                    "a record is no attested price", next_step="give the attester its own journal"
                )
            price = _KINDS[key[:1]](
                feed=key[1:33],
                time=int.from_bytes(key[33:], "big"),
                price=int.from_bytes(record[:_PROMISED], "big"),
            )
            self._promise(key, price)
            if len(record) == _SIGNED:
                self._keep(key, Attestation(price=price, signature=Signature(record[_PROMISED:])))

    def spots(self, feed: bytes, *, before: int, most: int) -> tuple[Attestation, ...]:
        """The newest spots of ``feed`` at ``before`` or earlier, newest first, ``most`` of them."""
        signed = self._spots.get(feed, {})
        times = sorted((time for time in signed if time <= before), reverse=True)
        return tuple(signed[time] for time in times[:most])

    def settlement(self, feed: bytes, time: int) -> Attestation | None:
        """What was signed as the settlement price of ``feed`` at ``time``."""
        return self._signed.get(_key(SettlementPrice(feed=feed, time=time, price=1)))

    def newest_spot(self, feed: bytes) -> int:
        """Time of the newest spot promised for ``feed``; 0 if there is none."""
        return self._newest.get(feed, 0)

    async def attest(self, price: SpotPrice | SettlementPrice) -> Attestation:
        """Sign a price, durably; what was signed for this time before is given again as it was.

        Raises:
            SigningRefusedError: another price was promised for this time, or the spot is older than
                the newest one.
            SignerError: the key does not sign. The promise stands.
            StorageError: not stored, so not signed.
        """
        async with self._alone:
            key = _key(price)
            if key in self._promised and self._promised[key] != price.price:
                raise SigningRefusedError(
                    f"{feed_name(price.feed)} at {price.time} was promised at another price",
                    next_step="nothing to do: an attester has one word for one time",
                )
            if key in self._signed:
                return self._signed[key]
            if (
                isinstance(price, SpotPrice)
                and key not in self._promised
                and price.time < self.newest_spot(price.feed)
            ):
                raise SigningRefusedError(
                    f"a spot of {price.time} is older than the newest one",
                    next_step="check this machine's clock",
                )
            promise = price.price.to_bytes(_PROMISED, "big")
            await self._records.put(key, promise)
            self._promise(key, price)
            statement = _Statement(self._domain, price)
            # A key signs the digest of what it is given; here it is one of the oracle's domain.
            signature = await self._signer.sign(cast(Signable, statement))
            check_digest(signature, statement.digest, self.address)
            await self._records.put(key, promise + signature.compact)
            return self._keep(key, Attestation(price=price, signature=signature))

    async def prune(self, now: int) -> None:
        """Forget spots older than a day. None of them can be signed anew: they are not the newest.

        Raises:
            StorageError: not deleted.
        """
        async with self._alone:
            for feed, signed in self._spots.items():
                newest = self.newest_spot(feed)
                for time in [each for each in signed if each < now - _KEPT and each != newest]:
                    key = _key(signed[time].price)
                    await self._records.delete(key)
                    del signed[time], self._signed[key], self._promised[key]

    def _promise(self, key: bytes, price: SpotPrice | SettlementPrice) -> None:
        self._promised[key] = price.price
        if isinstance(price, SpotPrice):
            self._newest[price.feed] = max(price.time, self.newest_spot(price.feed))

    def _keep(self, key: bytes, attestation: Attestation) -> Attestation:
        self._signed[key] = attestation
        if isinstance(attestation.price, SpotPrice):
            self._spots[attestation.price.feed][attestation.price.time] = attestation
        return attestation


def _key(price: SpotPrice | SettlementPrice) -> bytes:
    return _TAGS[type(price)] + price.feed + price.time.to_bytes(8, "big")
