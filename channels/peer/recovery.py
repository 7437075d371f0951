"""Recovery of lost data: asking towers and copies, and rebuilding channels from key and chain.

The machine does the rest: see `channels.protocol.recovery`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio

from channels.errors import ChannelsError
from channels.peer.callbacks import ask
from channels.peer.runner import Runner
from channels.peer.tasks import Tasks, Tell
from channels.protocol import records
from channels.protocol.calls import CoSigned
from channels.protocol.channel import Channel, Phase, Recovery, Timing, new_channel
from channels.protocol.effects import Deed, Notice, RecoveryNeeded
from channels.protocol.eip712 import Address
from channels.protocol.events import StatesFound
from channels.protocol.facts import OnChainPhase
from channels.protocol.terms import Opening, RiskParams, hash_risk_params
from channels.protocol.types import Party
from channels.storage import AppendJournal, PutChannel, Store

if TYPE_CHECKING:
    from channels.chain.client import EthereumChain
    from channels.chain.openings import FoundOpening

__all__ = ["Recoveries", "StateSource", "recover_channels"]

StateSource = Callable[[bytes], Awaitable[Sequence[CoSigned]]]
"""All co-signed states that our towers and copies hold of the channel of an id.

An error is asked again, and nothing is signed meanwhile: a source that is gone for good returns
what the others have.
"""

SOURCE_PATIENCE: Final = 60.0
"""Seconds that the sources may take to answer."""
ASK_AGAIN: Final = 30.0
"""Seconds until sources that failed are asked again."""


class Recoveries:
    """Asks the owner's sources for every channel whose data is in doubt."""

    hears: Final = (RecoveryNeeded,)

    def __init__(
        self,
        *,
        sources: StateSource | None,
        runners: Mapping[bytes, Runner],
        tasks: Tasks,
        tell: Tell,
    ) -> None:
        self._sources = sources
        self._runners = runners
        self._tasks = tasks
        self._tell = tell
        self._asking: set[bytes] = set()

    def resume(self) -> None:
        """Ask for every channel that was recovering when we stopped."""
        for runner in self._runners.values():
            self._ask(runner)

    def on_notice(self, runner: Runner, notice: Notice) -> None:
        """Ask where a recovery begins."""
        if isinstance(notice, RecoveryNeeded):
            self._ask(runner)

    def _ask(self, runner: Runner) -> None:
        identity = runner.channel_id
        if _waits(runner.channel) and identity not in self._asking:
            self._asking.add(identity)
            self._tasks.start(identity, partial(self._find, runner))

    async def _find(self, runner: Runner) -> None:
        identity, source = runner.channel_id, self._sources
        try:
            while _waits(runner.channel):
                try:
                    states: Sequence[CoSigned] = ()
                    if source is not None:
                        states = await ask(
                            "the states' source", partial(source, identity), SOURCE_PATIENCE
                        )
                    await runner.feed(StatesFound(states=tuple(states)))
                except ChannelsError as error:
                    self._tell(identity, error)
                    await trio.sleep(ASK_AGAIN)
        finally:
            self._asking.discard(identity)


def _waits(channel: Channel) -> bool:
    recovery = channel.recovery
    return channel.phase is Phase.RECOVERING and recovery.leads and not recovery.heard_sources


async def recover_channels(
    chain: EthereumChain,
    signer: Address,
    store: Store,
    *,
    risk: Sequence[tuple[RiskParams, ...]] = (),
    timing: Timing | None = None,
    from_block: int = 0,
    span: int = 10_000,
) -> tuple[bytes, ...]:
    """Rebuild, from nothing but a key and the chain, every open channel that the store lacks.

    Each is stored as recovering: open a peer on the store, connect to the counterparties, and they
    and the towers are asked for the newest state. **With a counterparty that hides it, and no
    tower, what it shows is all there is: this may lose funds.** Only what is final is looked at.

    Args:
        chain: an open `channels.chain.EthereumChain`.
        signer: address of the session key.
        store: where to; channels that it has stay as they are.
        risk: margin parameters, one set a channel in any order; of a channel without its own among
            them the counterparty is asked for them.
        timing: box and slot of the chain.
        from_block: no channel of ours was opened before.
        span: blocks asked for at a time.

    Returns:
        The ids of what was added.

    Raises:
        EndpointError: no answer, or a log without its transaction.
        StorageError: not stored; run it again.
    """
    # Importing web3 takes longer than all of this package; a peer without this call needs none.
    from channels.chain.openings import find_openings

    known = store.channels()
    sets = {hash_risk_params(each): each for each in risk}
    final = chain.head.final_number
    found = [
        each
        async for each in find_openings(
            chain.rpc, chain.domain, signer, first=from_block, last=final, span=span
        )
        if each.channel_id not in known
    ]
    added = []
    for each in found:
        view = await chain.view(each.channel_id, final)
        if view.phase is OnChainPhase.CLOSED:
            continue
        channel = attrs.evolve(
            _rebuilt(chain, each, signer, sets, Timing() if timing is None else timing),
            recovery=Recovery(leads=True, seen=view.nonce),
        )
        body = records.encode_journal_entry(Deed.RECOVERING, (), channel)
        await store.commit(
            [
                PutChannel(channel_id=each.channel_id, record=records.encode_channel(channel)),
                AppendJournal(channel_id=each.channel_id, kind=int(Deed.RECOVERING), body=body),
            ]
        )
        added.append(each.channel_id)
    return tuple(added)


def _rebuilt(
    chain: EthereumChain,
    found: FoundOpening,
    signer: Address,
    sets: Mapping[bytes, tuple[RiskParams, ...]],
    timing: Timing,
) -> Channel:
    """The channel as it was when it opened; the Opening's own deadline is of no more use."""
    opening = Opening(
        terms=found.terms, deposit_a=found.deposit_a, deposit_b=found.deposit_b, valid_until=0
    )
    return new_channel(
        domain=chain.domain,
        side=Party.A if found.terms.signer_a == signer else Party.B,
        opening=opening,
        risk=sets.get(found.terms.risk_hash, ()),
        timing=timing,
        phase=Phase.RECOVERING,
    )
