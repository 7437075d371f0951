"""The store root: a Merkle tree over everything a tower watches, changed one channel at a time.

An entry's key is the channel id and the customer's side. Its first two bytes choose one of 65,536
buckets. A bucket's hash covers the (key, leaf) pairs in it, in the order of their keys; above stand
sixteen levels of a binary tree. So an update hashes one bucket (sixteen pairs, of a million
channels) and sixteen nodes, the tree takes ten megabytes whatever the number of channels, and a
proof of a kilobyte or two shows an entry's leaf, or that it is not there. Channel ids are hashes,
which keeps the buckets even; crowding one takes channels opened on chain.

Source: design, watchtower.md "Service" (heartbeat).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from channels.protocol.eip712 import keccak

__all__ = ["BUCKETS", "DEPTH", "MerkleProof", "StoreTree", "bucket_hash", "bucket_of"]

DEPTH: Final = 16
BUCKETS: Final = 1 << DEPTH
_EMPTY: Final = bytes(32)
_BUCKET: Final = b"\x00"
_NODE: Final = b"\x01"

Pair = tuple[bytes, bytes]
"""(key, leaf)."""

_KEY: Final = 33
_LEAF: Final = 32


def bucket_of(key: bytes) -> int:
    """The bucket of an entry."""
    return int.from_bytes(key[:2], "big")


def bucket_hash(pairs: Iterable[Pair]) -> bytes:
    """Hash of a bucket with these pairs, given in the order of their keys; zero if it is empty."""
    joined = b"".join(key + leaf for key, leaf in pairs)
    return keccak(_BUCKET + joined) if joined else _EMPTY


def _node(left: bytes, right: bytes) -> bytes:
    return keccak(_NODE + left + right)


@attrs.frozen(kw_only=True)
class MerkleProof:
    """The bucket that an entry belongs to, whole, and the hashes beside its path to the root."""

    pairs: tuple[Pair, ...]
    siblings: tuple[bytes, ...]

    def leaf(self, key: bytes) -> bytes | None:
        """What is shown of an entry; None: that it is not there."""
        return dict(self.pairs).get(key)

    def root(self, key: bytes) -> bytes:
        """The root this proves something about; compare it with a heartbeat's. Empty: none."""
        place = bucket_of(key)
        keys = [each for each, _ in self.pairs]
        if (
            len(self.siblings) != DEPTH
            or any(len(each) != _LEAF for each in self.siblings)
            or keys != sorted(set(keys))
            or any(bucket_of(each) != place for each in keys)
            or any(len(each) != _KEY or len(leaf) != _LEAF for each, leaf in self.pairs)
        ):
            return b""
        hashed = bucket_hash(self.pairs)
        for sibling in self.siblings:
            hashed = _node(sibling, hashed) if place & 1 else _node(hashed, sibling)
            place >>= 1
        return hashed


class StoreTree:
    """The sixteen levels above the buckets, in memory."""

    def __init__(self, buckets: Mapping[int, bytes]) -> None:
        """Build over the hashes of all buckets that are not empty."""
        empty = _EMPTY
        self._levels = [[empty] * BUCKETS]
        for height in range(1, DEPTH + 1):
            empty = _node(empty, empty)
            self._levels.append([empty] * (BUCKETS >> height))
        self.update(buckets)

    @property
    def root(self) -> bytes:
        """The store root."""
        return self._levels[-1][0]

    def update(self, buckets: Mapping[int, bytes]) -> None:
        """Give buckets new hashes; each node above them is hashed once."""
        for number, hashed in buckets.items():
            self._levels[0][number] = hashed
        touched = set(buckets)
        for below, level in zip(self._levels, self._levels[1:], strict=False):
            touched = {number >> 1 for number in touched}
            for number in touched:
                level[number] = _node(below[2 * number], below[2 * number + 1])

    def siblings(self, bucket: int) -> tuple[bytes, ...]:
        """The hashes beside the path from a bucket to the root, from below."""
        found = []
        for level in self._levels[:-1]:
            found.append(level[bucket ^ 1])
            bucket >>= 1
        return tuple(found)
