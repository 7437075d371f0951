"""The proxy and its addresses, against EIP-1014, eth-account and py-evm."""

from __future__ import annotations

import rlp  # type: ignore[import-untyped]
from eth._utils.address import generate_contract_address, generate_safe_contract_address
from eth_account import Account
from eth_typing import Address as EthAddress
from eth_utils.crypto import keccak

from channels.chain import EmbeddedChain
from channels.chain.create2 import (
    PROXY,
    PROXY_CODE,
    PROXY_COST,
    PROXY_SENDER,
    PROXY_TRANSACTION,
    create2_address,
)
from channels.chain.plan import CORE, RELEASE_SALT, core_contracts, token_contract
from channels.chain.rpc import Rpc
from channels.protocol.eip712 import address


def test_the_proxy_is_what_its_signed_transaction_creates() -> None:
    sender = address(Account.recover_transaction(PROXY_TRANSACTION))
    assert sender == PROXY_SENDER
    nonce, price, gas, to, value, init_code, v, _, _ = rlp.decode(PROXY_TRANSACTION)
    assert (nonce, to, value, v) == (b"", b"", b"", b"\x1b"), "the sender's first; no chain id"
    assert int.from_bytes(price) * int.from_bytes(gas) == PROXY_COST
    assert bytes(generate_contract_address(EthAddress(sender), 0)) == PROXY
    assert init_code.endswith(PROXY_CODE)


def test_the_transaction_is_the_published_one() -> None:
    """Hash as block explorers have it, of the transaction that created the proxy on mainnet."""
    published = "eddf9e61fb9d8f5111840daef55e5fde0041f5702856532cdbb5a02998033d26"
    assert keccak(PROXY_TRANSACTION).hex() == published


def test_addresses_are_those_of_py_evm() -> None:
    for planned in (*core_contracts(), token_contract()):
        expected = generate_safe_contract_address(
            EthAddress(PROXY), int.from_bytes(planned.salt), planned.init_code
        )
        assert planned.address == bytes(expected)


async def test_the_proxy_answers_with_the_address() -> None:
    rpc = Rpc(EmbeddedChain())
    salt, init_code = keccak(b"salt"), bytes.fromhex("600a600c600039600a6000f3") + b"\x5b" * 10
    assert await rpc.call(PROXY, salt + init_code) == create2_address(salt, init_code)


def test_other_code_arguments_or_salt_have_another_address() -> None:
    one = token_contract()
    other = token_contract(token_decimals=18)
    elsewhere = token_contract(salt=bytes(32))
    assert len({one.address, other.address, elsewhere.address}) == 3
    assert one.salt == RELEASE_SALT


def test_contracts_come_after_those_they_name() -> None:
    planned = core_contracts()
    assert [each.name for each in planned] == list(CORE)
    for place, each in enumerate(planned):
        for named in CORE[each.name].values():
            assert named in [before.name for before in planned[:place]]
