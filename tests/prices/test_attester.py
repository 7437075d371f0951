"""What an attester signs: once for a time, durably, and the average that the hour had."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from channels.chain import MemoryRecordStore, OracleDomain
from channels.chain.attestations import Attestation, SettlementPrice, SpotPrice
from channels.errors import EndpointError, InvalidValueError, SigningRefusedError, StorageError
from channels.prices import AttesterService, FixedFeed, HttpFeed, LinesFeed, PriceFeed
from channels.prices.attester import average_price
from channels.protocol.eip712 import Address, digest
from channels.protocol.signing import LocalSigner, Signature, recover
from channels.storage import open_store
from tests.prices.world import FEED, KEYS, WAD, Feed, journal_of

DOMAIN = OracleDomain(chain_id=31_337, oracle=Address(b"\x11" * 20))
HOUR = 1_800_000_000
assert HOUR % 3_600 == 0


def spot(time: int, price: int) -> SpotPrice:
    return SpotPrice(feed=FEED, time=time, price=price)


async def test_it_signs_in_the_oracle_s_domain() -> None:
    journal = await journal_of(KEYS[0], DOMAIN)
    signed = await journal.attest(spot(HOUR, 3_000 * WAD))
    assert (
        recover(signed.signature, digest(DOMAIN.separator, signed.price.struct_hash))
        == LocalSigner(KEYS[0]).address
    )


async def test_it_never_signs_two_prices_for_one_time(tmp_path: Path) -> None:
    path = tmp_path / "attester.db"
    async with open_store(path) as store:
        journal = await journal_of(KEYS[0], DOMAIN, store.records("p"))  # type: ignore[arg-type]
        first = await journal.attest(spot(HOUR, 3_000 * WAD))
        assert await journal.attest(spot(HOUR, 3_000 * WAD)) == first
        with pytest.raises(SigningRefusedError, match="promised at another price"):
            await journal.attest(spot(HOUR, 3_001 * WAD))
    async with open_store(path) as store:
        later = await journal_of(KEYS[0], DOMAIN, store.records("p"))  # type: ignore[arg-type]
        with pytest.raises(SigningRefusedError, match="promised at another price"):
            await later.attest(spot(HOUR, 3_001 * WAD))
        assert later.spots(FEED, before=HOUR, most=9) == (first,)


class Broken(MemoryRecordStore):
    """Fails from the given write on."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good

    async def put(self, key: bytes, record: bytes) -> None:
        if not self.good:
            raise StorageError("the disk is full")
        self.good -= 1
        await super().put(key, record)


@pytest.mark.parametrize("good", [0, 1])
async def test_what_is_not_stored_is_not_given_out(good: int) -> None:
    records = Broken(good)
    journal = await journal_of(KEYS[0], DOMAIN, records)
    with pytest.raises(StorageError):
        await journal.attest(spot(HOUR, 3_000 * WAD))
    assert journal.spots(FEED, before=HOUR, most=9) == ()
    records.good = 9
    # A promise that was stored stands, also for whoever reads the journal next.
    reread = await journal_of(KEYS[0], DOMAIN, records)
    for each in (journal, reread):
        if good:
            with pytest.raises(SigningRefusedError):
                await each.attest(spot(HOUR, 2_999 * WAD))
        assert (await each.attest(spot(HOUR, 3_000 * WAD))).price.price == 3_000 * WAD


async def test_pruned_spots_are_not_signed_anew() -> None:
    journal = await journal_of(KEYS[0], DOMAIN)
    for time in (HOUR, HOUR + 60):
        await journal.attest(spot(time, 3_000 * WAD))
    await journal.prune(HOUR + 2 * 86_400)
    assert [each.price.time for each in journal.spots(FEED, before=HOUR * 2, most=9)] == [HOUR + 60]
    with pytest.raises(SigningRefusedError, match="older than the newest"):
        await journal.attest(spot(HOUR, 3_001 * WAD))


def attested(time: int, price: int) -> Attestation:
    return Attestation(price=spot(time, price), signature=Signature(bytes(64)))


@given(
    gaps=st.lists(st.integers(1, 300), min_size=20, max_size=60),
    prices=st.lists(st.integers(1, 10**24), min_size=61, max_size=61),
)
def test_the_average_is_that_of_every_second(gaps: list[int], prices: list[int]) -> None:
    times = [HOUR - 1_800 - 150]
    for gap in gaps:
        times.append(times[-1] + gap)
    series = [(time, price) for time, price in zip(times, prices, strict=False) if time <= HOUR]
    found = average_price([attested(*each) for each in series], HOUR)
    if times[-1] < HOUR and HOUR - times[-1] > 300:
        assert found is None
        return
    if series[0][0] + gaps[0] > HOUR - 1_800 or len(series) > 1:
        standing = [
            next(price for time, price in reversed(series) if time <= second)
            for second in range(HOUR - 1_800, HOUR)
        ]
        assert found == int(Fraction(sum(standing), 1_800))


def test_no_average_over_a_hole_or_without_a_beginning() -> None:
    minutes = [attested(time, WAD) for time in range(HOUR - 1_800, HOUR, 60)]
    assert average_price(minutes, HOUR) == WAD
    assert average_price(minutes[1:], HOUR) is None
    assert average_price(minutes[:10] + minutes[16:], HOUR) is None
    assert average_price(minutes[:10] + minutes[14:], HOUR) == WAD
    assert average_price([], HOUR) is None


async def test_spots_on_the_grid_and_the_hour_s_average() -> None:
    feed = Feed()
    service = AttesterService(await journal_of(KEYS[0], DOMAIN), feed, [FEED])
    for minute in range(31):
        feed.price = (3_000 + minute) * WAD
        await service.tick(HOUR - 1_800 + 60 * minute + 2)
    journal = service.journal
    newest = journal.spots(FEED, before=HOUR - 1, most=2)
    assert [each.price.time for each in newest] == [HOUR - 60, HOUR - 120]
    told = journal.settlement(FEED, HOUR)
    assert told is not None
    assert isinstance(told.price, SettlementPrice)
    # Minutes 0 to 29 stand for a minute each; the price of minute 30 is of the time after.
    assert told.price.price == sum(range(3_000, 3_030)) * WAD // 30


async def test_late_or_without_a_price_it_signs_nothing() -> None:
    service = AttesterService(await journal_of(KEYS[0], DOMAIN), FixedFeed({}), [FEED])
    await service.tick(HOUR)
    assert service.journal.newest_spot(FEED) == 0
    late = AttesterService(await journal_of(KEYS[0], DOMAIN), Feed(), [FEED])
    await late.tick(HOUR + 11)
    assert late.journal.newest_spot(FEED) == 0
    await late.tick(HOUR + 70)
    assert late.journal.newest_spot(FEED) == HOUR + 60


async def test_it_wakes_at_each_time_of_the_grid(autojump_clock: object) -> None:
    journal = await journal_of(KEYS[0], DOMAIN)
    begin = trio.current_time()
    service = AttesterService(
        journal, Feed(), [FEED], clock=lambda: HOUR - 20 + trio.current_time() - begin
    )
    with trio.move_on_after(150):
        await service.run()
    signed = journal.spots(FEED, before=2 * HOUR, most=9)
    assert [each.price.time - HOUR for each in signed] == [120, 60, 0]


# ---- feeds


async def test_the_newest_line_of_the_feed_counts(tmp_path: Path) -> None:
    path = tmp_path / "prices.jsonl"
    feed: PriceFeed = LinesFeed(path, clock=lambda: HOUR + 5)
    with pytest.raises(EndpointError, match="cannot be read"):
        await feed(FEED)
    lines = [
        {"feed": "ETH-USD", "time": HOUR, "price": "3000.5"},
        {"feed": "BTC-USD", "time": HOUR, "price": "90000"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"feed": "ETH-USD", "ti')
    assert await feed(FEED) == 3_000_500_000_000_000_000_000
    path.write_text('{"feed": "ETH-USD", "time": "soon", "price": "1"}')
    with pytest.raises(EndpointError, match="new enough"):
        await feed(FEED)
    path.write_text(json.dumps(lines[0]))
    with pytest.raises(EndpointError, match="new enough"):
        await LinesFeed(path, clock=lambda: HOUR + 100)(FEED)


@pytest.mark.parametrize(
    ("body", "price"),
    [
        ('{"data": [{"price": "3000.25"}]}', 3_000_250_000_000_000_000_000),
        ('{"data": [{"price": 0.1}]}', 10**17),
        (
            '{"data": [{"price": "12345678901234567.123456789"}]}',
            12345678901234567123456789 * 10**9,
        ),
        ('{"data": [{"price": 0.1234567890123456789}]}', 123456789012345679),
        ('{"data": [{"price": -1}]}', None),
        ('{"data": [{"price": "NaN"}]}', None),
        ('{"data": []}', None),
        ("rubbish", None),
    ],
)
async def test_a_price_is_read_out_of_json_exactly(body: str, price: int | None) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/ETH-USD"
        return httpx.Response(200, text=body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        feed = HttpFeed(client, "http://prices/{feed}", "data.0.price")
        if price is None:
            with pytest.raises(EndpointError):
                await feed(FEED)
        else:
            assert await feed(FEED) == price


def test_a_fixed_price_is_one() -> None:
    with pytest.raises(InvalidValueError, match="is no price"):
        FixedFeed({"ETH-USD": "0"})
