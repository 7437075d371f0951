"""The sending half of the transaction manager: what to bid, whence, signed and broadcast.

Nothing is broadcast before it is stored. A bid never exceeds what is left of the budget of those it
is for, nor what its account can pay; a filler, which only uses a nonce up so that no gap holds up
others, is at our own expense.

Source: design, watchtower.md "Engine" (Responder), protocol.md "Durability".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import attrs

from channels.chain.accounts import TransactionSigner, UnsignedTransaction
from channels.chain.board import JobBoard
from channels.chain.fees import Bid, FeePolicy, Market
from channels.chain.heads import HeadFollower
from channels.chain.jobs import JobBroadcast, JobMined, JobRearmed, JobStalled, JobUpdate
from channels.chain.lanes import Lanes, Slot
from channels.chain.market import read_market
from channels.chain.records import Attempt, JobRecord, RecordStore, Stage, Variant
from channels.chain.rpc import Receipt, Rpc, RpcRefusedError
from channels.errors import InvalidValueError
from channels.protocol.eip712 import Address, checksum, keccak

__all__ = ["Dispatch"]

_FILLER_GAS: Final = 21_000

_DEPTH: Final = 16
"""Transactions of an account that wait to be mined at once: as many as nodes keep of any."""


class Dispatch(JobBoard):
    """Signs and sends for one or more accounts; the first is `account`.

    ``depth`` bounds what waits to be mined of each.
    """

    def __init__(
        self,
        rpc: Rpc,
        follower: HeadFollower,
        signers: Sequence[TransactionSigner],
        *,
        chain_id: int,
        store: RecordStore,
        fees: FeePolicy | None = None,
        depth: int = _DEPTH,
    ) -> None:
        if not signers or depth < 1:
            raise InvalidValueError("transactions need an account, and room for one at a time")
        super().__init__(store)
        self._rpc = rpc
        self._follower = follower
        self._signers = {each.address: each for each in signers}
        self._chain_id = chain_id
        self._fees = fees if fees is not None else FeePolicy()
        self._depth = depth
        self._lanes = self._empty_lanes()
        self._sent_at: dict[bytes, int] = {}
        self._untold: dict[bytes, JobBroadcast] = {}
        self._market: tuple[bytes, Market] | None = None
        self._carried: dict[bytes, bytes] = {}
        self._alone: set[bytes] = set()
        self._unanswered: set[bytes] = set()
        self._paid: dict[bytes, int] = {}
        self._spent: Counter[bytes] = Counter()
        self._by_channel: dict[bytes, set[bytes]] = {}

    @property
    def account(self) -> Address:
        """The account that pays for what not anyone may send, and the first one for the rest."""
        return self.accounts[0]

    @property
    def accounts(self) -> tuple[Address, ...]:
        """All accounts that pay."""
        return tuple(self._signers)

    def spent(self, channel: bytes) -> int:
        """What has been paid for a channel's transactions that have ended, wei."""
        return self._spent[channel]

    def _note(self, job: JobRecord) -> None:
        super()._note(job)
        alike = self._by_channel.setdefault(job.channel, set())
        if self._is_open(job.key):
            alike.add(job.key)
        else:
            alike.discard(job.key)
            if not alike:
                del self._by_channel[job.channel]

    def _empty_lanes(self) -> Lanes:
        nonces = dict.fromkeys(self._signers, 0)
        return Lanes(self.accounts, nonces, {}, (), depth=self._depth)

    async def _read_lanes(self, tip: bytes) -> Lanes:
        """Our accounts at the block of this hash."""
        jobs = self._open_jobs()
        known = {Address(each.account) for job in jobs for each in job.attempts if each.account}
        nonces, balances = {}, {}
        for account in {*self.accounts, *known}:
            nonces[account] = await self._rpc.nonce(account, tip)
        for account in self.accounts:
            balances[account] = await self._rpc.balance(account, tip)
        return Lanes(self.accounts, nonces, balances, jobs, depth=self._depth)

    # ---- what to bid

    async def _prices(self) -> Market:
        """The market at the head."""
        tip = self._follower.tip
        if self._market is None or self._market[0] != tip.hash:
            self._market = tip.hash, await read_market(self._rpc, self._fees, tip.base_fee)
        return self._market[1]

    def _limit(
        self, job: JobRecord, gas: int, account: Address, *, besides: Attempt | None = None
    ) -> tuple[int, str]:
        """Most to bid per gas for so much gas, and what would have to change for more.

        ``besides``: the attempt it would replace.
        """
        limit = min(job.fee_limit or self._fees.limit, self._fees.limit)
        budget = self._budget(job)
        if budget is not None:
            limit = min(limit, max(budget, 0) // gas)
        wealth = self._lanes.affordable(account, besides=besides) - job.value
        if wealth // gas < limit:
            return max(wealth, 0) // gas, f"{checksum(account)} has too little ether"
        return limit, f"the fee limit of {limit} wei per gas is reached"

    def _budget(self, job: JobRecord) -> int | None:
        """What a job may cost from now on, wei; None: no bound. A batch's members share alike."""
        if not job.batch:
            return self._budget_of(job) if job.budget else None
        members = [self._open[each] for each in job.members if each in self._open]
        left = [self._budget_of(each) for each in members if each.budget]
        return min(left) * len(job.members) if left else None

    def _budget_of(self, job: JobRecord) -> int:
        others = self._by_channel.get(job.channel, set()) - {job.key}
        reserved = sum(self._reserved(self._open[each]) for each in others)
        return job.budget - self._spent[job.channel] - self._paid.get(job.key, 0) - reserved

    def _reserved(self, job: JobRecord) -> int:
        """What may still have to be paid for what is signed, wei."""
        carrier = self._open.get(self._carried.get(job.key, b""))
        if carrier is not None:
            return self._reserved(carrier) // max(len(carrier.members), 1)
        last = (each.variants[-1] for each in self._lanes.live(job))
        return self._paid.get(job.key, 0) + sum(each.gas * each.max_fee for each in last)

    def _note_paid(self, job: JobRecord, receipts: Sequence[Receipt]) -> None:
        """What the mined attempts of a job have cost so far, each party its own share."""
        cost = sum(each.gas_used * each.effective_gas_price for each in receipts)
        self._paid[job.key] = cost
        for each in job.members:
            self._paid[each] = cost // len(job.members)

    def _is_due(self, job: JobRecord, variant: Variant, market: Market) -> bool:
        """Whether to bid more."""
        tip = self._follower.tip
        sent = self._sent_at.setdefault(variant.hash, tip.number)
        if tip.number - sent >= self._fees.replace_after and (job.urgency is None or sent < 0):
            return True
        if tip.number <= sent:
            return False
        if job.urgency is None or variant.filler:
            return variant.max_fee < market.base_fee
        return self._fees.is_low(_bid(variant), market, job.urgency, tip.timestamp)

    # ---- signing and sending

    async def _send_first(self, job: JobRecord, gas: int) -> None:
        """Give a job a nonce, or leave it waiting: for room, or for fees that it can pay."""
        market = await self._prices()
        stuck = self._lanes.stuck_for(job, market.base_fee)
        if await self._take_one(job, stuck, gas, market):
            return
        account = self._lanes.room_for(job, market.base_fee)
        if account is None:
            tip = self._follower.tip.number
            waited = [
                slot
                for slot in self._lanes.less_urgent_than(job)
                if self._sent_at.get(slot.last.hash, tip) < tip
            ]
            await self._take_one(job, waited, gas, market)
            return
        limit, why = self._limit(job, gas, account)
        if not self._fees.buys(market, limit):
            self._stall(job, why, exhausted=True)
            return
        bid = self._fees.first(market, limit, urgency=job.urgency, now=self._follower.tip.timestamp)
        nonce = self._lanes.next_nonce(account)
        variant = await self._sign(job, account, nonce, bid, gas=gas)
        attempt = Attempt(account=account, nonce=nonce, variants=(variant,))
        await self._store_and_send(job, attempt, variant)

    async def _take_one(
        self, job: JobRecord, slots: Sequence[Slot], gas: int, market: Market
    ) -> bool:
        """Take the first of these nonces that a job can outbid the holder of."""
        for slot in slots:
            if slot.account not in self._signers:
                continue
            limit, _ = self._limit(job, gas, slot.account, besides=slot.attempt)
            bid = self._raised(slot.last, job, market, limit)
            if bid is None or bid.max_fee < market.base_fee + bid.priority_fee:
                continue
            variant = await self._sign(job, slot.account, slot.attempt.nonce, bid, gas=gas)
            attempt = Attempt(account=slot.account, nonce=slot.attempt.nonce, variants=(variant,))
            await self._store_and_send(job, attempt, variant)
            self._seen_to.pop(slot.job.key, None)
            return True
        return False

    def _raised(self, last: Variant, job: JobRecord, market: Market, limit: int) -> Bid | None:
        return self._fees.raised(
            _bid(last), market, limit, urgency=job.urgency, now=self._follower.tip.timestamp
        )

    async def _press_on(self, job: JobRecord, attempt: Attempt, gas: int) -> None:
        """Broadcast again, or replace what bids too little or is a filler. ``gas`` 0: a filler."""
        last = attempt.variants[-1]
        if last.filler is not (gas == 0) or self._is_due(job, last, await self._prices()):
            await self._replace(job, attempt, gas=gas)
        else:
            await self._broadcast(job, last)

    async def _fill(self, job: JobRecord, attempt: Attempt) -> None:
        """Use a nonce up without effect."""
        await self._press_on(job, attempt, 0)

    async def _replace(self, job: JobRecord, attempt: Attempt, *, gas: int) -> None:
        last, account = attempt.variants[-1], self._lanes.account(attempt)
        if account not in self._signers:
            await self._broadcast(job, last)
            self._stall(job, f"{checksum(account)} is no account of ours any more")
            return
        limit, why = self._fees.limit, "the fee policy's limit is reached"
        if gas:
            limit, why = self._limit(job, gas, account, besides=attempt)
        bid = self._raised(last, job, await self._prices(), limit)
        if bid is None:
            await self._broadcast(job, last)
            self._stall(job, why, exhausted=True)
            return
        variant = await self._sign(job, account, attempt.nonce, bid, gas=gas)
        await self._store_and_send(
            job, attrs.evolve(attempt, variants=(*attempt.variants, variant)), variant
        )

    async def _sign(
        self, job: JobRecord, account: Address, nonce: int, bid: Bid, *, gas: int
    ) -> Variant:
        """Sign the job's transaction, or, with ``gas`` 0, one that only uses its nonce up."""
        filler = gas == 0
        raw = await self._signers[account].sign_transaction(
            UnsignedTransaction(
                chain_id=self._chain_id,
                nonce=nonce,
                to=account if filler else job.to,
                data=b"" if filler else job.data,
                value=0 if filler else job.value,
                gas=_FILLER_GAS if filler else gas,
                max_fee=bid.max_fee,
                priority_fee=bid.priority_fee,
            )
        )
        return Variant(
            hash=keccak(raw),
            raw=raw,
            max_fee=bid.max_fee,
            priority_fee=bid.priority_fee,
            filler=filler,
            gas=_FILLER_GAS if filler else gas,
        )

    async def _store_and_send(self, job: JobRecord, attempt: Attempt, variant: Variant) -> None:
        before = self._jobs[job.key]
        account = self._lanes.account(attempt)
        others = tuple(
            each
            for each in before.attempts
            if (self._lanes.account(each), each.nonce) != (account, attempt.nonce)
        )
        mine = (each for each in before.attempts if each not in others)
        earlier = tuple(each for one in mine for each in one.variants)
        if variant not in earlier:
            attempt = attrs.evolve(attempt, variants=(*earlier, variant))
        attempts = sorted((*others, attempt), key=lambda each: (each.account, each.nonce))
        after = attrs.evolve(before, stage=Stage.SIGNED, attempts=tuple(attempts))
        await self._save(after)
        self._lanes.put(after, attempt)
        self._sent_at[variant.hash] = self._follower.tip.number
        self._untold[variant.hash] = JobBroadcast(
            key=job.key,
            name=job.name,
            transaction_hash=variant.hash,
            nonce=attempt.nonce,
            bid=_bid(variant),
            filler=variant.filler,
        )
        await self._broadcast(job, variant)

    async def _broadcast(self, job: JobRecord, variant: Variant) -> None:
        self._sent_at.setdefault(variant.hash, self._follower.tip.number)
        try:
            await self._rpc.send(variant.raw)
        except RpcRefusedError as error:
            reply = error.reply.lower()
            if "underpriced" in reply:
                self._sent_at[variant.hash] = -self._fees.replace_after  # raise it at the next head
                return
            if "nonce too low" in reply or "oldnonce" in reply:
                return  # one of this nonce is mined, and the next head shows which
            if not any(text in reply for text in ("known", "already imported")):
                self._stall(job, error.reply)
                return
        if (update := self._untold.pop(variant.hash, None)) is not None:
            self._tell(update)

    # ---- telling

    def _tell(self, update: JobUpdate) -> None:
        """Tell of a job; what becomes of a batch becomes of each of its members."""
        super()._tell(update)
        batch = self._open.get(update.key)
        if batch is None or not isinstance(update, JobMined | JobRearmed | JobStalled):
            return
        if isinstance(update, JobMined):
            update = attrs.evolve(update, gas_used=update.gas_used // max(len(batch.members), 1))
        for key in batch.members:
            if self._carried.get(key) == batch.key and (member := self._open.get(key)):
                super()._tell(attrs.evolve(update, key=key, name=member.name))


def _bid(variant: Variant) -> Bid:
    return Bid(max_fee=variant.max_fee, priority_fee=variant.priority_fee)
