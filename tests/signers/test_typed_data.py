"""The JSON that a wallet is shown hashes to what the contract checks, for every struct."""

from __future__ import annotations

import json

import pytest
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from channels.protocol.signing import LocalSigner, recover
from channels.signers import open_remote_signer, typed_data
from channels.signers.recovery import signature_of
from tests.chain.world import new_key
from tests.signers.world import NAMES, signable

COUNT = 60


@pytest.mark.parametrize("name", NAMES)
def test_eth_account_hashes_it_to_our_digest(name: str) -> None:
    for seed in range(COUNT):
        value = signable(name, seed)
        sent = json.loads(json.dumps(typed_data(value)))
        message = encode_typed_data(full_message=sent)
        assert keccak(b"\x19" + message.version + message.header + message.body) == value.digest


@pytest.mark.parametrize("name", NAMES)
def test_numbers_survive_readers_that_have_only_doubles(name: str) -> None:
    def no_number(text: str) -> None:
        raise AssertionError(f"{text} stands there as a number")

    document = json.dumps(typed_data(signable(name)))
    json.loads(document, parse_int=no_number, parse_float=no_number)


@pytest.mark.anvil
@pytest.mark.parametrize("name", NAMES)
async def test_anvil_signs_it(name: str, anvil_url: str) -> None:
    """Anvil encodes with alloy, in Rust, and signs with the first of its published keys."""
    known = LocalSigner(
        bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
    )
    async with open_remote_signer(anvil_url, signer=known.address) as signer:
        for seed in range(3):
            value = signable(name, seed)
            assert recover(await signer.sign(value), value.digest) == known.address


def test_r_and_s_are_enough() -> None:
    """What coincurve signed is found again from r and s alone, from r and -s as well."""
    order = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
    parities = set()
    for seed in range(32):
        key, digest = LocalSigner(new_key()), signable("Closing", seed).digest
        made = key.sign_digest(digest)
        raw = made.expanded()[:64]
        high = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
        parities.add(made.expanded()[64])
        for each in (raw, high):
            assert signature_of(each, digest, key.address) == made
    assert parities == {27, 28}
