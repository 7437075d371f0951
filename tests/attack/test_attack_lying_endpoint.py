"""Attack: one endpoint lies, or hangs where nobody looks: the others are followed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing
from web3.types import RPCEndpoint, RPCResponse

from channels.chain import Finality
from channels.chain.endpoints import EndpointPool, open_endpoints
from channels.chain.events import read_events
from channels.chain.rpc import Rpc
from channels.chain.votes import ahead_of_all, verdict
from channels.chain.witnesses import Witnesses
from channels.errors import EndpointsDisagreeError
from channels.protocol.eip712 import Address, keccak
from channels.protocol.facts import ChannelView, OnChainPhase

CONTRACT = Address(b"\xaa" * 20)
SENDER = keccak(b"a transaction that exists")
Result = Any


def block_hash(number: int, chain: str = "") -> bytes:
    return keccak(f"{chain}{number}".encode())


@attrs.define
class Node:
    """An endpoint of a chain in which block n has the hash of n; a fork differs from a block on."""

    name: str
    head: int = 100
    final: int = 90
    forked_at: int | None = None
    logs: list[Any] = attrs.Factory(list)
    hangs_on: str = ""
    answers: dict[str, Result] = attrs.Factory(dict)
    asked: list[str] = attrs.Factory(list)

    def __repr__(self) -> str:
        return self.name

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        self.asked.append(method)
        if method == self.hangs_on:
            await trio.sleep_forever()
        if method in self.answers:
            return cast(RPCResponse, self.answers[method])
        return cast(RPCResponse, {"result": self._result(method, params)})

    def _result(self, method: str, params: Any) -> Result:
        if method == "eth_getBlockByNumber":
            tags = {"latest": self.head, "finalized": self.final}
            number = tags[params[0]] if params[0] in tags else int(params[0], 16)
            return self._block(number) if number <= self.head else None
        if method == "eth_getBlockByHash":
            recent = map(self._block, range(self.head, self.head - 200, -1))
            return next((each for each in recent if each["hash"] == params[0]), None)
        if method == "eth_getLogs":
            return self.logs
        if method == "eth_getTransactionByHash":
            known = params[0] == "0x" + SENDER.hex()
            return transaction() if known else None
        return "0x1"

    def _block(self, number: int) -> Result:
        def of(height: int) -> str:
            forked = self.forked_at is not None and height >= self.forked_at
            return "0x" + block_hash(height, self.name if forked else "").hex()

        return {
            "number": hex(number),
            "hash": of(number),
            "parentHash": of(number - 1),
            "timestamp": hex(12 * number),
        }


def transaction() -> Result:
    return {
        "hash": "0x" + SENDER.hex(),
        "from": "0x" + "11" * 20,
        "to": "0x" + CONTRACT.hex(),
        "input": "0x",
        "blockNumber": "0x64",
    }


def log(**changes: Any) -> Result:
    return {
        "address": "0x" + CONTRACT.hex(),
        "topics": ["0x" + keccak(b"an event of no contract").hex()],
        "data": "0x",
        "blockNumber": "0x64",
        "blockHash": "0x" + block_hash(100).hex(),
        "transactionHash": "0x" + SENDER.hex(),
        "logIndex": "0x0",
    } | changes


@asynccontextmanager
async def pooled(*nodes: Node, **options: Any) -> AsyncIterator[EndpointPool]:
    settings: dict[str, Any] = {"finality": Finality.tag(), "interval": 3_600.0, "patience": 60.0}
    async with open_endpoints(nodes, **(settings | options)) as pool:
        yield pool


def standings(pool: EndpointPool) -> list[str]:
    return [each.standing.value for each in pool.statuses]


async def test_a_head_in_the_far_future_does_not_lead() -> None:
    """It would be asked for every block from here to there, and the chain never move again."""
    honest = Node("one"), Node("two", head=101)
    liar = Node("liar", head=2**60)
    async with pooled(*honest, liar) as pool:
        assert pool.leader in ("one", "two")
        assert standings(pool) == ["good", "good", "forked"]
        assert isinstance(pool.trouble, EndpointsDisagreeError)
        liar.head = 101
        await pool.survey()
        await pool.survey()
        assert standings(pool) == ["good"] * 3
        assert pool.trouble is None


async def test_a_leader_whose_final_block_never_moves_is_found_out() -> None:
    """Below its fork there is nothing to dispute; the others name a block above it."""
    liar = Node("liar", head=102, final=60, forked_at=61)
    async with pooled(liar, Node("one"), Node("two")) as pool:
        assert standings(pool) == ["forked", "good", "good"]
        assert pool.leader == "one"
    async with pooled(liar, Node("one")) as pool:
        assert isinstance(pool.trouble, EndpointsDisagreeError), "of two: told, and both kept"


async def test_a_final_block_that_only_one_has_outvotes_nobody() -> None:
    ahead = Node("ahead", head=102, final=102)
    async with pooled(Node("one"), Node("two"), ahead) as pool:
        assert standings(pool) == ["good"] * 3
        assert pool.trouble is None


async def test_silence_is_no_way_back_from_a_fork() -> None:
    liar = Node("liar", forked_at=61)
    async with pooled(liar, Node("one"), Node("two")) as pool:
        liar.answers["eth_getBlockByNumber"] = {"error": {"code": 1, "message": "busy"}}
        await pool.survey()
        assert standings(pool)[0] == "forked"


INVENTED = [
    5,
    None,
    {},
    log(topics=5),
    log(topics=["0x12"]),
    log(blockHash="0x" + "11" * 32),
    log(address="0x" + "22" * 20),
    log(logIndex=None),
]


@pytest.mark.parametrize("invented", INVENTED)
async def test_what_is_no_log_keeps_no_block_from_being_read(invented: Result) -> None:
    """One that invents it would keep every block from being taken in, disputes and all."""
    told = [log()]
    liar = Node("liar", logs=[invented])
    async with pooled(liar, Node("one", logs=told), Node("two", logs=told)) as pool:
        rpc = Rpc(pool)
        (read,) = await rpc.logs(block_hash(100), CONTRACT)
        assert read.transaction_hash == SENDER
        assert standings(pool)[0] == "silent"


async def test_an_invented_event_keeps_no_block_from_being_read() -> None:
    """Well formed, of a transaction that nobody has, or with data that no event has."""
    topic = "0x" + _recorded().hex()
    for invented in (
        log(topics=[topic], transactionHash="0x" + "33" * 32),
        log(topics=[topic], data="0x" + "00" * 7),
    ):
        liar = Node("liar", logs=[invented])
        async with pooled(liar, Node("one"), Node("two")) as pool:
            rpc = Rpc(pool)
            assert await read_events(rpc, await rpc.logs(block_hash(100), CONTRACT)) == ()
            assert isinstance(pool.trouble, EndpointsDisagreeError)


def _recorded() -> bytes:
    from channels.chain import events

    return min(events._WITH_INPUT)


async def test_an_event_in_capitals_is_the_same_event() -> None:
    shouted = log(transactionHash="0x" + SENDER.hex().upper())
    async with pooled(Node("one", logs=[log()]), Node("two", logs=[shouted])) as pool:
        assert len(await Rpc(pool).logs(block_hash(100), CONTRACT)) == 1
        assert pool.trouble is None


async def test_one_that_answers_surveys_and_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each failure costs its patience; the pauses between them grow, up to a minute."""
    del autojump_clock
    hanging = Node("hanging", hangs_on="eth_getLogs")
    async with pooled(hanging, Node("one"), interval=1.0, patience=0.5) as pool:
        rpc, end = Rpc(pool), trio.current_time() + 600
        while trio.current_time() < end:
            await rpc.logs(block_hash(100), CONTRACT)
            await trio.sleep(1)
        assert pool.leader == "one"
    # Pauses of 4, 8, 16, 32 s and then one of 64 s after another.
    assert hanging.asked.count("eth_getLogs") <= 5 + 600 // 64


async def test_a_revert_with_data_that_is_none() -> None:
    odd = {"error": {"code": 3, "message": "execution reverted", "data": "0xzz"}}
    one = Node("one", answers={"eth_call": odd})
    async with pooled(one, Node("two")) as pool:
        with pytest.raises(Exception, match="was refused") as caught:
            await Rpc(pool).call(CONTRACT, b"")
        assert getattr(caught.value, "output", None) == b""


# -- what they say of a channel


def view(phase: OnChainPhase, nonce: int = 7) -> ChannelView:
    return ChannelView(phase=phase, nonce=nonce)


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        # The leader first.
        ("closed disputed disputed", "disputed"),
        ("closed disputed", "disputed"),
        ("run_off disputed", "disputed"),
        ("open open disputed", "disputed"),
        ("run_off run_off disputed", "run_off"),
        ("disputed run_off run_off", "run_off"),
        ("open closed closed", "open"),
    ],
)
async def test_who_is_believed_of_a_dispute(
    told: str, believed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = [view(OnChainPhase[each.upper()]) for each in told.split()]
    assert await _seen(views, monkeypatch) == view(OnChainPhase[believed.upper()])


async def test_a_dispute_on_the_oldest_state_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that shows the dispute as if our newest state were filed keeps us from answering."""
    views = [view(OnChainPhase.DISPUTED, 9), view(OnChainPhase.DISPUTED, 3)]
    assert (await _seen(views, monkeypatch)).nonce == 3


async def _seen(views: list[ChannelView], monkeypatch: pytest.MonkeyPatch) -> ChannelView:
    async def ask(question: Any) -> list[ChannelView]:
        del question
        return views

    async with pooled(Node("one"), Node("two")) as pool:
        witnesses = Witnesses(pool, CONTRACT)
        monkeypatch.setattr(witnesses, "_ask", ask)
        return await witnesses.view_at(bytes(32), bytes(32), 0)


# -- counting


def test_one_vote_more_is_enough_and_a_tie_is_not() -> None:
    a, b = b"\x0a" * 32, b"\x0b" * 32
    assert verdict({5: {"x": a, "y": a}}).disputed is None
    two_to_one = verdict({5: {"x": a, "y": b, "z": a}})
    assert (two_to_one.outvoted, two_to_one.disputed) == (frozenset({"y"}), 5)
    tie = verdict({5: {"x": a}, 9: {"x": a, "y": b}})
    assert (tie.outvoted, tie.disputed) == (frozenset(), 9)


def test_the_others_stuck_say_nothing_of_who_is_ahead() -> None:
    heads = {"x": 100, "y": 101, "z": 200}
    moved = {"x": 50.0, "y": 60.0, "z": 99.0}
    assert ahead_of_all(heads, moved, lag=3, since=59.0) == "z"
    assert ahead_of_all(heads, moved, lag=3, since=60.0) is None
    assert ahead_of_all({"x": 100, "z": 200}, moved, lag=3, since=0.0) is None
    assert ahead_of_all(heads, moved, lag=99, since=0.0) is None
