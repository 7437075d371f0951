"""Two peers trade, one with a remote signer and one with a token; and one whose key hangs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from eth_account import Account

from channels.errors import SignerError
from channels.peer import PeerChannel
from channels.protocol.effects import DisputeSeen
from channels.protocol.eip712 import checksum
from channels.protocol.signing import Signer, recover
from channels.signers import create_keystore, open_signer
from tests.chain.world import FUNDS, World, embedded_world
from tests.peer.world import PATIENCE, Pair, open_channel, trade, trading
from tests.signers.world import OTHER_SECRET, SECRET, Answer, RemoteKeys, serving

SIGN = "eth_signTypedData_v4"


@pytest.fixture
async def world() -> World:
    return await embedded_world()


@pytest.fixture
def second(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of the other side's key: in a token where SoftHSM is, else in a keystore."""
    try:
        token = request.getfixturevalue("token")
    except pytest.skip.Exception:
        create_keystore(tmp_path / "bob.json", _word, secret=OTHER_SECRET, kdf="pbkdf2", work=1)
        (tmp_path / "word").write_text("word")
        return f"keystore:{tmp_path / 'bob.json'}?passphrase-file={tmp_path / 'word'}"
    return str(token.uri("object=twin;id=%02"))


def _word(purpose: str) -> str:
    return "word"


@asynccontextmanager
async def opened(
    world: World, folder: Path, alice: Signer, bob: Signer
) -> AsyncIterator[tuple[Pair, PeerChannel]]:
    """A channel between two peers who sign with these."""
    sides: dict[str, Any] = {"alice": {"signer": alice}, "bob": {"signer": bob}}
    async with trading(world, folder, **sides, opened=False) as pair:
        channel = await open_channel(
            pair.alice, pair.b, signer_a=alice.address, signer_b=bob.address
        )
        await pair.bob.peer.channel(channel.channel_id).wait_open(PATIENCE)
        yield pair, channel


async def test_a_trade_signed_elsewhere_on_both_sides(
    world: World, tmp_path: Path, second: str
) -> None:
    keys = RemoteKeys()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(keys))
        remote = await stack.enter_async_context(open_signer(url))
        other = await stack.enter_async_context(open_signer(second))
        assert checksum(remote.address) == Account.from_key(SECRET).address
        assert checksum(other.address) == Account.from_key(OTHER_SECRET).address
        async with opened(world, tmp_path, remote, other) as (pair, channel):
            bought = await trade(pair.alice, 2)
            sold = await trade(pair.alice, -2)
            ours, _ = await pair.settled()
            full = ours.state.ledger.full
            digest = world.domain.digest(full.state)
            assert full.mine is not None
            assert full.theirs is not None
            assert recover(full.mine, digest) == remote.address
            assert recover(full.theirs, digest) == other.address
            await channel.close(PATIENCE)
    spent = bought.premium + sold.premium
    assert spent > 0, "the maker earns its dollar twice"
    assert await world.token.balance(world.a.address) == FUNDS - spent
    assert await world.token.balance(world.b.address) == FUNDS + spent
    signed = {json.loads(each)["params"][1]["primaryType"] for each in keys.asked(SIGN)}
    assert signed >= {"State", "Closing"}


async def test_a_key_that_hangs_does_not_keep_a_dispute_from_us(
    world: World, tmp_path: Path
) -> None:
    """Alice's signer goes silent in the middle of a trade; the chain's news still reaches her."""
    keys, asked = RemoteKeys(), trio.Event()

    async def hang(params: Any) -> Answer:
        asked.set()
        await trio.sleep_forever()
        raise AssertionError

    async with (
        serving(keys) as url,
        open_signer(url) as remote,
        opened(world, tmp_path, remote, world.signer_b) as (pair, channel),
    ):
        await trade(pair.alice)
        await pair.settled()
        keys.on_sign = hang
        pair.alice.peer._signer._seconds = 2.0  # type: ignore[attr-defined]
        while not asked.is_set():  # again, where the two seconds were over before it was asked
            with pytest.raises(SignerError, match="no signature within 2 seconds"):
                await trade(pair.alice)
        await pair.bob.peer.channel(channel.channel_id).dispute()
        seen = await pair.alice.told(DisputeSeen)
        assert seen.recorded == channel.state.ledger.full.state.nonce
        assert not seen.stale
