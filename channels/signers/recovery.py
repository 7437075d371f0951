"""A signature that somebody else made, brought into the form the contract takes, and checked.

Wallets disagree on v (0, 27, or with a chain id in it), tokens give none, and neither has to make s
low. So only r and s are believed: the rest is found by recovery, which is the check as well.

Source: EIP-2 (low s); SEC 1, 4.1.6 (recovery).
"""

from __future__ import annotations

from coincurve.utils import GROUP_ORDER_INT

from channels.errors import BadSignatureError, SignerError
from channels.protocol.eip712 import Address, checksum
from channels.protocol.signing import Signature, recover

__all__ = ["signature_of"]


def signature_of(r_and_s: bytes, digest: bytes, address: Address) -> Signature:
    """The signature of ``address`` over ``digest`` that has this r and this s, or its negative.

    Args:
        r_and_s: r and s, 32 bytes each, big-endian.
        digest: the 32 bytes that were to be signed.
        address: whose key was to sign them.

    Raises:
        SignerError: another key made it, over something else, or it is no signature at all.
    """
    r, s = r_and_s[:32], int.from_bytes(r_and_s[32:], "big")
    if len(r_and_s) == 64 and 0 < s < GROUP_ORDER_INT:
        low = min(s, GROUP_ORDER_INT - s).to_bytes(32, "big")
        for parity in (b"\x00", b"\x01"):
            signature = Signature.from_expanded(r + low + parity)
            try:
                if recover(signature, digest) == address:
                    return signature
            except BadSignatureError:
                continue
    raise SignerError(
        f"what came back is no signature of {checksum(address)} over what was to be signed",
        next_step="see which key the signer uses, and whether it shows the struct that was sent",
    )
