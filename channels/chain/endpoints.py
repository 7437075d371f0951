"""Several endpoints as one provider: the best one answers, all are sent to, and lies are noticed.

- **Reads** go to the leader: of the endpoints whose chain agrees with the others', the one that is
  furthest ahead. One that does not answer is passed over at once.
- **Transactions** go to all of them. One that takes it is enough.
- **Logs** of a block are the union of what all endpoints tell: one that omits a dispute hides
  nothing, and one that invents one costs a read of the contract.
- **Agreement** is checked at the newest block that each takes for final: who has another block
  there is outvoted, set aside and named; so is, of three or more, who alone is far ahead. Without
  a majority nobody is, ``trouble`` says so, and each leads in its turn; so they do where they tell
  of different events, channels or nonces. A head whose parent its endpoint lacks is made up.

Source: design, protocol.md "Chain access", watchtower.md "Engine".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, cast

import trio
from web3.types import RPCEndpoint, RPCResponse

from channels.chain.endpoint import Endpoint, EndpointStatus, Standing, may_be_elsewhere
from channels.chain.heads import Finality
from channels.chain.json_values import shown
from channels.chain.leading import Leadership
from channels.chain.provider import open_provider
from channels.chain.rpc import Block, BlockId, Provider, Rpc
from channels.chain.tasks import open_tasks
from channels.chain.told_logs import logs_told, union_of
from channels.chain.votes import ahead_of_all, verdict
from channels.errors import EndpointError, EndpointsDisagreeError, InvalidValueError
from channels.protocol.eip712 import Address

__all__ = ["EndpointPool", "EndpointStatus", "Standing", "open_endpoints"]

_STUCK: Final = 60.0
"""Seconds without a newer block after which an endpoint says nothing about who is too far ahead."""


class EndpointPool:
    """A provider made of several. Make one with `open_endpoints`, which surveys them all the time.

    ``trouble`` is what the endpoints disagree about, while they do.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        providers: Mapping[str, Provider],
        *,
        finality: Finality,
        lag: int,
        patience: float,
        turn: float,
    ) -> None:
        self.trouble: EndpointsDisagreeError | None = None
        self._nursery = nursery
        self._finality = finality
        self._lag = lag
        self._patience = patience
        self._anchor: Block | None = None
        self._leadership = Leadership(lag=lag, turn=turn)
        self._endpoints = {
            name: Endpoint(
                name=name,
                rpc=Rpc(provider),
                status=EndpointStatus(name=name, standing=Standing.SILENT),
            )
            for name, provider in providers.items()
        }

    def __repr__(self) -> str:
        return f"EndpointPool({', '.join(self._endpoints)})"

    # ---- what can be seen

    @property
    def statuses(self) -> tuple[EndpointStatus, ...]:
        """Every endpoint, in the order given."""
        return tuple(each.status for each in self._endpoints.values())

    @property
    def leader(self) -> str:
        """Name of the endpoint that reads go to."""
        return self._leadership.name

    @property
    def sources(self) -> tuple[Rpc, ...]:
        """Whom to ask what all should be asked: those believed, leader first; else everybody."""
        return tuple(each.rpc for each in self._believed())

    def disagree(self, about: str) -> None:
        """Note that endpoints gave different answers; shown until a survey finds them agreed."""
        self.trouble = EndpointsDisagreeError(f"the endpoints disagree about {about}")
        self._leadership.doubt(trio.current_time())

    # ---- asking

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Send one request to whom it concerns.

        Raises:
            EndpointError: no endpoint answered.
        """
        if method == "eth_sendRawTransaction":
            return await self._broadcast(method, params)
        if method == "eth_getLogs" and {"blockHash", "address"} <= set(params[0]):
            return await self._all_logs(method, params)
        if method == "eth_getTransactionCount" and isinstance(params[1], Mapping):
            return await self._compared(method, params)
        return await self._first_answer(method, params)

    async def _first_answer(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        answer: RPCResponse | None = None
        failure: EndpointError | None = None
        for each in self._candidates():
            try:
                found = await self._ask(each, method, params)
            except EndpointError as error:
                failure = error
                continue
            answer = found if answer is None else answer
            if not may_be_elsewhere(method, found):
                return found
        if answer is not None:
            return answer
        raise failure or EndpointError("there is no endpoint")

    async def _ask(self, endpoint: Endpoint, method: RPCEndpoint, params: Any) -> RPCResponse:
        try:
            with trio.fail_after(self._patience):
                answer = await endpoint.rpc.provider.make_request(method, params)
        except trio.TooSlowError:
            endpoint.failed(f"no answer to {method} within {self._patience:g} s")
            raise EndpointError(f"{endpoint.name} did not answer {method} in time") from None
        except EndpointError as error:
            endpoint.failed(str(error.args[0]))
            raise
        endpoint.answered()
        return answer

    def _candidates(self) -> list[Endpoint]:
        """All endpoints, the leader first, then by what they are taken for."""
        return sorted(
            self._endpoints.values(),
            key=lambda each: (_RANK[each.status.standing], each.name != self.leader),
        )

    def _believed(self) -> list[Endpoint]:
        candidates = self._candidates()
        return [each for each in candidates if each.status.standing in _BELIEVED] or candidates

    async def _ask_all(
        self, endpoints: Sequence[Endpoint], method: RPCEndpoint, params: Any
    ) -> dict[str, RPCResponse]:
        """Answers by name, of those who answer in time."""
        answers: dict[str, RPCResponse] = {}

        async def ask(endpoint: Endpoint) -> None:
            try:
                answers[endpoint.name] = await self._ask(endpoint, method, params)
            except EndpointError:
                return

        async with trio.open_nursery() as nursery:
            for each in endpoints:
                nursery.start_soon(ask, each)
        return answers

    async def _broadcast(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Send to all; return with the first that takes it, while the others are still asked."""
        send, receive = trio.open_memory_channel[RPCResponse | EndpointError](len(self._endpoints))

        async def ask(endpoint: Endpoint) -> None:
            try:
                send.send_nowait(await self._ask(endpoint, method, params))
            except EndpointError as error:
                send.send_nowait(error)

        for each in self._candidates():
            self._nursery.start_soon(ask, each)
        refusal: RPCResponse | None = None
        failure: EndpointError | None = None
        for _ in self._endpoints:
            answer = await receive.receive()
            if isinstance(answer, EndpointError):
                failure = answer
            elif "error" not in answer:
                return answer
            elif refusal is None or "known" in shown(answer["error"]):
                refusal = answer
        if refusal is not None:
            return refusal
        raise failure or EndpointError("there is no endpoint")

    async def _compared(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """The leader's answer, and a disagreement if others give another."""
        believed = self._believed()
        answers = await self._ask_all(believed, method, params)
        ordered = (answers.get(each.name, {}) for each in believed)
        told = [each for each in ordered if "result" in each]
        if not told:
            return await self._first_answer(method, params)
        if any(each["result"] != told[0]["result"] for each in told):
            self.disagree(f"what {method} tells of {params[0]}")
        return told[0]

    async def _all_logs(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        asked = {name: bytes.fromhex(params[0][name][2:]) for name in ("blockHash", "address")}
        answers = await self._ask_all(self._believed(), method, params)
        told = []
        for name, answer in answers.items():
            if "error" in answer:
                continue
            try:
                told.append(
                    logs_told(answer.get("result"), asked["blockHash"], Address(asked["address"]))
                )
            except EndpointError as error:
                self._endpoints[name].failed(str(error.args[0]))
        if not told:
            return await self._first_answer(method, params)
        union, agreed = await union_of(Rpc(self), told)
        if not agreed:
            self.disagree(f"the events of block {params[0]['blockHash']}")
        return cast(RPCResponse, {"jsonrpc": "2.0", "id": 0, "result": union})

    # ---- the survey

    async def run(self, interval: float) -> None:
        """Survey for ever."""
        while True:
            await trio.sleep(interval)
            await self.survey()

    async def survey(self) -> None:
        """Ask everybody for the newest block, vote on the newest final ones, choose the leader."""
        async with trio.open_nursery() as nursery:
            for each in self._endpoints.values():
                nursery.start_soon(self._look, each)
        disputed = await self._vote()
        self.trouble = None
        self._set_aside_far_ahead()
        self._choose()
        if disputed is not None:
            self.disagree(f"block {disputed}, which should be final")

    async def _look(self, endpoint: Endpoint) -> None:
        found, before = await self._block(endpoint, "latest"), endpoint.status.head
        if found is None:
            return
        linked = before is not None and before.hash in (found.hash, found.parent_hash)
        if not linked and found.number and await self._block(endpoint, found.parent_hash) is None:
            endpoint.was_silent(f"does not have the block below its newest, {found.number}")
            return
        endpoint.showed(found)

    async def _block(self, endpoint: Endpoint, block: BlockId) -> Block | None:
        """A block as one endpoint tells it; None if it does not, and then it may be silent."""
        try:
            with trio.fail_after(self._patience):
                return await endpoint.rpc.block(block)
        except trio.TooSlowError:
            endpoint.was_silent(f"no answer within {self._patience:g} s")
        except EndpointError as error:
            endpoint.was_silent(str(error.args[0]))
        return None

    async def _vote(self) -> int | None:
        """Set aside who has another block than most where all should be final; its number.

        Each names the newest block that it takes for final, and all vote on each of these: were one
        alone to name it, it could name one that is never disputed.
        """
        present = [
            each
            for each in self._endpoints.values()
            if each.status.standing is not Standing.SILENT and each.status.head is not None
        ]
        votes: dict[int, dict[str, bytes]] = {}

        async def name_final(endpoint: Endpoint) -> None:
            head = endpoint.status.head
            if head is None:
                return
            final = await self._block(endpoint, self._finality.block(head.number))
            if final is not None:
                votes.setdefault(final.number, {})[endpoint.name] = final.hash

        async def ask(endpoint: Endpoint, number: int) -> None:
            found = await self._block(endpoint, number)
            if found is not None:
                votes[number][endpoint.name] = found.hash

        async with trio.open_nursery() as nursery:
            for each in present:
                nursery.start_soon(name_final, each)
        async with trio.open_nursery() as nursery:
            for number, voted in list(votes.items()):
                for each in present:
                    if each.name not in voted:
                        nursery.start_soon(ask, each, number)
        found = verdict(votes)
        for name in {name for voted in votes.values() for name in voted}:
            endpoint = self._endpoints[name]
            if name in found.outvoted:
                trouble = f"has another block {found.disputed} than most"
                endpoint.is_now(Standing.FORKED, trouble)
            elif endpoint.status.standing is Standing.FORKED:
                endpoint.is_now(Standing.GOOD)
        return found.disputed

    def _set_aside_far_ahead(self) -> None:
        heads = {each.name: each.status.head.number for each in self._good() if each.status.head}
        moved_at = {name: self._endpoints[name].moved_at for name in heads}
        since = trio.current_time() - _STUCK
        name = ahead_of_all(heads, moved_at, lag=self._lag, since=since)
        if name is not None:
            self._endpoints[name].is_now(Standing.FORKED, f"alone claims block {heads[name]}")
            self.disagree(f"block {heads[name]}, which only one of them has")

    def _good(self) -> list[Endpoint]:
        return [each for each in self._endpoints.values() if each.status.standing in _BELIEVED]

    def _choose(self) -> None:
        """Tell who lags, and choose who leads."""
        good = self._good()
        heads = {each.name: each.status.head.number for each in good if each.status.head}
        if not heads:
            return
        furthest = max(heads.values())
        for each in good:
            behind = furthest - heads.get(each.name, furthest)
            if behind > self._lag:
                each.is_now(Standing.LAGGING, f"{behind} blocks behind")
        self._leadership.choose(heads, trio.current_time())


_BELIEVED: Final = frozenset({Standing.GOOD, Standing.LAGGING})
_RANK: Final = {
    Standing.GOOD: 0,
    Standing.LAGGING: 1,
    Standing.SILENT: 2,
    Standing.FORKED: 3,
}


@asynccontextmanager
async def open_endpoints(
    endpoints: Sequence[str | Provider],
    *,
    finality: Finality | None = None,
    interval: float = 1.0,
    lag: int = 3,
    patience: float = 4.0,
    turn: float = 30.0,
) -> AsyncIterator[EndpointPool]:
    """Use several endpoints as one while the block lasts.

    Args:
        endpoints: two or more URLs or providers; the order decides between equals.
        finality: where agreement is checked; the ``finalized`` tag unless given.
        interval: seconds between surveys.
        lag: blocks behind the furthest from which on an endpoint counts as lagging.
        patience: seconds after which the next endpoint is asked.
        turn: seconds for which each leads while they disagree.

    Raises:
        InvalidValueError: none given, or one twice.
        EndpointError: none of them answers.
    """
    async with AsyncExitStack() as stack:
        providers: dict[str, Provider] = {}
        for number, each in enumerate(endpoints, start=1):
            name = repr(each)
            if isinstance(each, str):
                each = await stack.enter_async_context(open_provider(each))
                name = each.host
            name = name if name not in providers else f"{name} #{number}"
            providers[name] = each
        if not providers:
            raise InvalidValueError("no endpoint", next_step="give at least one")
        async with open_tasks() as nursery:
            pool = EndpointPool(
                nursery,
                providers,
                finality=finality if finality is not None else Finality.tag(),
                lag=lag,
                patience=patience,
                turn=turn,
            )
            await pool.survey()
            if not pool.leader:
                troubles = "; ".join(each.trouble for each in pool.statuses)
                raise EndpointError(f"no endpoint answers: {troubles}")
            nursery.start_soon(pool.run, interval)
            yield pool
