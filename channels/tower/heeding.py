"""What a tower learns of its own work: counted, told, and written down where it ends something.

Source: design, watchtower.md "Service" (metrics, webhook).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from channels.chain.jobs import JobBroadcast, JobFailed, JobFinal
from channels.dispute import (
    Alert,
    AlertCode,
    ChannelFinished,
    DisputeFound,
    Duty,
    DutyDone,
    DutySubmitted,
    Level,
    Report,
)
from channels.errors import StorageError
from channels.protocol.eip712 import Address
from channels.tower.book import Book
from channels.tower.ports import TowerChain
from channels.tower.tally import Answer, Tally
from channels.tower.writes import Forget, Release

__all__ = ["count_replacements", "heed_reports", "pass_on_alerts"]

_LOG: Final = logging.getLogger("channels.tower")


async def heed_reports(
    reports: AsyncIterable[Report],
    book: Book,
    tally: Tally,
    alert: Callable[[Alert], None],
    canary: Address | None,
) -> None:
    """Count what the monitor has done, and forget channels that have ended.

    An answer on a channel of the customer ``canary`` was one to a drill.
    """
    async for report in reports:
        match report:
            case DisputeFound():
                tally.duties["found"] += 1
            case DutySubmitted():
                tally.duties[report.duty.name.lower()] += 1
                if report.duty is Duty.REFUTE:
                    tally.responses.add(report.seconds)
            case DutyDone():
                tally.duties["done"] += 1
                if report.duty is Duty.REFUTE:
                    await _note_answer(report, book, tally, canary)
            case ChannelFinished():
                try:
                    await _forget(book, report.channel_id)
                except StorageError as error:
                    text = f"a channel that has ended is still in the book: {error}"
                    alert(Alert(level=Level.WARNING, code=AlertCode.STORE_TROUBLE, text=text))


async def _note_answer(report: DutyDone, book: Book, tally: Tally, canary: Address | None) -> None:
    answer = Answer(
        channel_id=report.channel_id,
        block=report.head_number,
        time=report.head_time,
        seconds=report.seconds,
    )
    tally.last_answer = answer
    if canary is None:
        return
    with suppress(StorageError):  # then it was a drill that nobody knows to be one
        held = await book.ask(lambda book: book.of_channel(report.channel_id))
        if any(each.customer == canary for each in held):
            tally.last_drill = answer


async def _forget(book: Book, channel_id: bytes) -> None:
    for key in await book.ask(lambda book: book.keys(channel_id)):
        await book.write(Forget(key))
    await book.write(Release(channel_id))


async def count_replacements(chain: TowerChain, tally: Tally) -> None:
    """Count replacements: another transaction of the same job under the same nonce."""
    sent: dict[bytes, tuple[int, bytes]] = {}
    with chain.job_updates() as updates:
        async for update in updates:
            if isinstance(update, JobBroadcast):
                before = sent.get(update.key)
                sent[update.key] = now = (update.nonce, update.transaction_hash)
                if before is not None and before != now and before[0] == now[0]:
                    tally.replacements += 1
            elif isinstance(update, JobFinal | JobFailed):
                sent.pop(update.key, None)


async def pass_on_alerts(
    alerts: AsyncIterable[Alert],
    tally: Tally,
    on_alert: Callable[[Alert], Awaitable[None]] | None,
) -> None:
    """Count alerts, and pass each on in a task of its own."""
    async with trio.open_nursery() as nursery:
        async for alert in alerts:
            tally.alerts[alert.code.name.lower(), alert.level.name.lower()] += 1
            if on_alert is not None:
                nursery.start_soon(_guarded, on_alert, alert)


async def _guarded(on_alert: Callable[[Alert], Awaitable[None]], alert: Alert) -> None:
    """Whoever is told must not be able to end the defence."""
    try:
        await on_alert(alert)
    except Exception:
        _LOG.exception("an alert could not be passed on")
