"""The embedded chain behaves as a node does, and as Anvil does where both can be asked."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

from channels.chain import EmbeddedChain, LocalAccount
from channels.chain.accounts import UnsignedTransaction
from channels.chain.bindings import encode_call
from channels.chain.deploy import send_now
from channels.chain.embedded import GENESIS_TIME
from channels.chain.jobs import Intent
from channels.chain.rpc import CallFailedError, Rpc, RpcRefusedError
from channels.errors import ContractRevertedError, InvalidValueError, SignerError
from channels.protocol.eip712 import Address
from channels.protocol.signing import Signature
from tests.chain.world import PATIENCE, World, embedded_world

ETHER = 10**18


def payment(account: LocalAccount, to: Address, nonce: int, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "chain_id": 1337,
        "nonce": nonce,
        "to": to,
        "data": b"",
        "value": 1,
        "gas": 21_000,
        "max_fee": 10**10,
        "priority_fee": 10**9,
        **changes,
    }
    return account.sign_transaction_now(UnsignedTransaction(**fields))


async def test_blocks_are_linked_and_time_moves_by_slots() -> None:
    chain = EmbeddedChain(slot=5)
    rpc = Rpc(chain)
    await chain.mine(3)
    parent = await rpc.block(0)
    assert parent is not None
    assert parent.timestamp == GENESIS_TIME
    for number in range(1, 4):
        block = await rpc.block(number)
        assert block is not None
        assert block.parent_hash == parent.hash
        assert block.timestamp == parent.timestamp + 5
        assert await rpc.block(block.hash) == block
        parent = block
    assert await rpc.block(4) is None
    assert await rpc.block(bytes(32)) is None


async def test_mempool_keeps_order_and_wants_better_paid_replacements() -> None:
    chain = EmbeddedChain(auto_mine=False)
    rpc, (a, b) = Rpc(chain), chain.accounts[:2]
    later = await rpc.send(payment(a, b.address, 1))
    await chain.mine()
    assert await rpc.receipt(later) is None
    assert await rpc.nonce(a.address, "pending") == 0
    cheap = await rpc.send(payment(a, b.address, 0))
    assert await rpc.nonce(a.address, "pending") == 2
    with pytest.raises(RpcRefusedError, match="already known"):
        await rpc.send(payment(a, b.address, 0))
    with pytest.raises(RpcRefusedError, match="underpriced"):
        await rpc.send(payment(a, b.address, 0, max_fee=109 * 10**8))
    dear = await rpc.send(payment(a, b.address, 0, max_fee=11 * 10**9, priority_fee=11 * 10**8))
    await chain.mine()
    assert await rpc.receipt(cheap) is None
    assert (await rpc.receipt(dear)) is not None
    assert (await rpc.receipt(later)) is not None
    with pytest.raises(RpcRefusedError, match="nonce too low"):
        await rpc.send(payment(a, b.address, 0))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"value": 10**30}, "insufficient funds"),
        ({"gas": 20_000}, "intrinsic gas"),
        ({"gas": 10**9, "max_fee": 10**9}, "exceeds block gas limit"),
        ({"chain_id": 1}, "chain id"),
    ],
)
async def test_impossible_transactions_are_refused(changes: dict[str, int], says: str) -> None:
    chain = EmbeddedChain()
    a, b = chain.accounts[:2]
    with pytest.raises(RpcRefusedError, match=says):
        await Rpc(chain).send(payment(a, b.address, 0, **changes))
    with pytest.raises(RpcRefusedError, match="invalid transaction"):
        await Rpc(chain).send(b"\x02\xc0")
    with pytest.raises(RpcRefusedError, match="does not exist"):
        await Rpc(chain).request("eth_sign")
    with pytest.raises(InvalidValueError):
        payment(a, b.address, -1)
    with pytest.raises(SignerError):
        payment(a, b.address, 0, data="text")
    with pytest.raises(InvalidValueError):
        payment(a, b.address, 0, max_fee=0)


async def test_state_is_kept_of_every_block(world: World) -> None:
    rpc, token = world.rpc, world.token
    before = await rpc.block()
    assert before is not None
    balance = await token.balance(world.b.address)
    await send_now(rpc, world.a, token.transfer(world.b.address, 5))
    assert await token.balance(world.b.address) == balance + 5
    assert await token.balance(world.b.address, before.hash) == balance
    assert await token.balance(world.b.address, before.number) == balance
    assert await rpc.nonce(world.a.address) == await rpc.nonce(world.a.address, before.hash) + 1


async def test_receipts_and_logs(world: World) -> None:
    rpc = world.rpc
    receipt = await send_now(rpc, world.a, world.token.transfer(world.b.address, 5))
    assert receipt.success
    [log] = receipt.logs
    assert log.address == world.deployment.token
    assert await rpc.logs(receipt.block_hash, world.deployment.token) == (log,)
    assert await rpc.logs(receipt.block_hash, world.deployment.oracle) == ()
    number = receipt.block_number
    assert await rpc.logs_between(number, number, world.deployment.token) == (log,)
    sent = await rpc.transaction(receipt.transaction_hash)
    assert sent is not None
    assert (sent.sender, sent.to) == (world.a.address, world.deployment.token)
    assert await rpc.transaction(bytes(32)) is None
    assert await rpc.receipt(bytes(32)) is None


async def test_reverts_carry_what_the_contract_returned(world: World) -> None:
    intent = world.token.transfer(world.b.address, 10**30)
    assert intent.to is not None
    with pytest.raises(CallFailedError) as caught:
        await world.rpc.call(intent.to, intent.data, sender=world.a.address)
    assert len(caught.value.output) == 4
    with pytest.raises(ContractRevertedError, match="InsufficientBalance"):
        await send_now(world.rpc, world.a, intent)


async def test_time_travel(world: World) -> None:
    now = await world.control.time()
    await world.control.advance_time(by=1_000)
    assert await world.control.time() == now + 1_000
    await world.control.advance_time(to=now + 5_000)
    assert await world.control.time() == now + 5_000
    with pytest.raises(InvalidValueError, match="forward"):
        await world.control.advance_time(to=now)
    await world.control.set_next_time(now + 9_000)
    receipt = await send_now(world.rpc, world.a, world.token.transfer(world.b.address, 1))
    block = await world.rpc.block(receipt.block_number)
    assert block is not None
    assert block.timestamp == now + 9_000


@pytest.mark.parametrize("keep", [True, False])
async def test_reorg_moves_or_drops_transactions(world: World, keep: bool) -> None:
    before = await world.token.balance(world.b.address)
    receipt = await send_now(world.rpc, world.a, world.token.transfer(world.b.address, 5))
    await world.control.mine(2)
    await world.control.reorg(3, keep=keep)
    again = await world.rpc.receipt(receipt.transaction_hash)
    assert (again is not None) == keep
    assert again is None or again.block_hash != receipt.block_hash
    assert await world.token.balance(world.b.address) == before + (5 if keep else 0)
    newest = await world.rpc.block()
    assert newest is not None
    assert newest.number == receipt.block_number + 3
    assert await world.rpc.block(receipt.block_hash) is None


@pytest.mark.anvil
async def test_gas_used_is_what_anvil_uses(anvil: World) -> None:
    """The same call costs the same gas on both chains: both follow Prague's rules."""
    used = []
    for world in (await embedded_world(), anvil):
        opening = await world.opening(world.terms(risk_hash=b"\x11" * 32, salt=b"\x22" * 32))
        # 65 bytes would not do: the contract looks for v 27 first, and 28 costs it 23 gas more.
        compact = Signature.from_expanded(opening.signature_a).compact
        data = encode_call(attrs.evolve(opening, signature_a=compact)).data
        receipt = await send_now(
            world.rpc, world.a, Intent(name="open", to=world.deployment.adjudicator, data=data)
        )
        assert receipt.success
        # Addresses and signatures are random, and a zero byte of calldata costs 4, others 16.
        zeros = data.count(0)
        used.append(receipt.gas_used - 4 * zeros - 16 * (len(data) - zeros))
    assert used[0] == used[1]


async def test_waiting_for_a_block(embedded: World) -> None:
    assert isinstance(embedded.provider, EmbeddedChain)
    tip = await embedded.rpc.block()
    assert tip is not None
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(embedded.provider.wait_for_block, tip.hash)
            await trio.testing.wait_all_tasks_blocked()
            await embedded.provider.mine()
        await embedded.provider.wait_for_block(tip.hash)
