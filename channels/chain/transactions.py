"""The transaction manager: from an intent to a final transaction, whatever happens in between.

A job's record is stored before anything of it leaves the process: the intent when it is accepted,
nonce and signed bytes before they are broadcast. So a crash at any point is safe: `start` reads
the records and `run` goes on. One task does everything, once for every new head:

- not mined: simulate, then broadcast the same bytes again; replace them, bidding more, after some
  blocks, or for a job with a deadline as soon as they bid too little;
- mined: wait for finality; reorganised away: as not mined;
- failed, or overtaken so that it would fail: its nonce is used up by a filler, so that no gap holds
  up other transactions, and the job is tried again under a new nonce if a simulation says that it
  can succeed, else it ends as failed, once that is final;
- without a nonce yet: the most urgent first, checkpoints in batches where there are many, from
  whichever account has room; what there is no room for waits on the disk. A nonce that its holder
  cannot pay for, or that of a job with more time, goes to one that is more urgent.

The accounts belong to one manager: **may lose funds** if another process sends from one as well, as
either may replace the other's transactions.

Source: design, protocol.md "Chain access", watchtower.md "Engine" (Responder).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio

from channels.chain.batches import LEAST_MEMBERS, batches_of, is_recorded_by, may_join
from channels.chain.board import KEEPS_FAILING, ending
from channels.chain.dispatch import Dispatch
from channels.chain.fees import Market
from channels.chain.jobs import JobMined, JobRearmed, JobStalled
from channels.chain.lanes import place
from channels.chain.records import Attempt, JobRecord, Stage
from channels.chain.reverts import NO_EFFECT, Revert, decode_revert
from channels.chain.rpc import CallFailedError, Receipt, RpcRefusedError
from channels.chain.tasks import first_of
from channels.errors import EndpointError, StorageError

__all__ = ["TransactionManager"]

_MOST_ATTEMPTS: Final = 8

_MOST_FAILURES: Final = 3
"""Jobs in a row without an answer, after which it is the endpoints: they are given a rest."""

_MEMBER_GAS: Final = 70_000
"""What a member of a batch takes at most, to know beforehand whether it can pay."""


@attrs.frozen
class _Verdict:
    """What a simulation says: the gas to give, or why it fails."""

    gas: int = 0
    refusal: Revert | None = None

    @property
    def passes(self) -> bool:
        return self.refusal is None


class TransactionManager(Dispatch):
    """Sees the transactions of one or more accounts through to finality.

    `start` it, then `run` it in a nursery beside the follower it watches.
    """

    # ---- running

    async def start(self) -> None:
        """Read the records of an earlier run. Raises as `JobBoard.start`."""
        await super().start()
        for job in self._jobs.values():
            if job.channel:
                self._spent[job.channel] += job.spent
            if job.batch and self._is_open(job.key):
                self._carried.update(dict.fromkeys(job.members, job.key))

    async def run(self) -> None:
        """See to all jobs, once for every head, for ever."""
        while True:
            changed, self._wake = self._follower.changed, trio.Event()
            try:
                complete = await self._advance_all()
            except EndpointError:
                complete = False
            patience = float("inf") if complete else self._follower.poll_interval
            with trio.move_on_after(patience):
                await first_of(changed, self._wake)

    async def _advance_all(self) -> bool:
        tip = self._follower.tip.hash
        if not self._unseen(tip):
            return True
        self._lanes = await self._read_lanes(tip)
        # What has a nonce comes first: it may free one for what has none.
        signed = [each for each in self._unseen(tip) if self._lanes.held(each)]
        complete = await self._advance_each(sorted(signed, key=self._lanes.order), tip)
        await self._form_batches(self._unseen(tip))
        waiting = [each for each in self._unseen(tip) if not self._lanes.held(each)]
        complete &= await self._advance_each(sorted(waiting, key=place), tip)
        await self._unblock()
        # Whose nonce was taken just now looks for another before the next head.
        return complete and not self._unseen(tip)

    def _unseen(self, tip: bytes) -> list[JobRecord]:
        """Open jobs that were not seen to at this head, but for those that a batch carries."""
        return [
            job
            for key, job in self._open.items()
            if self._seen_to.get(key) != tip and key not in self._carried
        ]

    async def _advance_each(self, jobs: Iterable[JobRecord], tip: bytes) -> bool:
        complete, failures = True, 0
        # What no endpoint had an answer for comes last, so that it holds up nothing else.
        for job in sorted(jobs, key=lambda each: each.key in self._unanswered):
            self._unanswered.discard(job.key)
            try:
                await self._advance(self._jobs[job.key])
                if self._is_open(job.key):
                    self._seen_to[job.key] = tip
                failures = 0
            except RpcRefusedError as error:
                self._stall(job, error.reply)
                complete = False
            except EndpointError:
                self._unanswered.add(job.key)
                complete, failures = False, failures + 1
                if failures == _MOST_FAILURES:
                    break
        return complete

    async def _advance(self, job: JobRecord) -> None:
        receipts = await self._receipts(job)
        self._note_paid(job, receipts)
        live, held = self._lanes.live(job), self._lanes.held(job)
        done = next((each for each in receipts if each.success and self._is_real(job, each)), None)
        if done is not None:
            for attempt in held:  # signed for a nonce that nothing else will use up
                await self._fill(job, attempt)
            await self._mined(job, done, may_end=not live)
            return
        if isinstance(self._latest.get(job.key), JobMined):
            self._tell(JobRearmed(key=job.key, name=job.name, reason="reorganised"))
            for attempt in live:  # the same bytes get their time anew before they are replaced
                self._sent_at.pop(attempt.variants[-1].hash, None)
        if not held and not receipts and not await self._has_prospect(job):
            return
        verdict = await self._simulate(job)
        if held:
            await self._press(job, held, verdict)
        elif live:  # others have taken its nonces, and it may still be mined under them
            if verdict.passes and job.repeatable:
                await self._send_first(job, verdict.gas)
        elif not job.attempts:
            await self._first_attempt(job, verdict)
        else:
            await self._after_failure(job, receipts, verdict)

    async def _press(self, job: JobRecord, held: list[Attempt], verdict: _Verdict) -> None:
        """Get an attempt mined that is not."""
        for attempt in held:
            if verdict.passes:
                await self._press_on(job, attempt, verdict.gas)
                if job.repeatable and self._lanes.is_cut_off(attempt):
                    await self._send_first(job, verdict.gas)
            elif job.batch and not job.members:
                await self._broadcast(job, attempt.variants[-1])
            elif self._lanes.is_next(attempt):
                await self._fill(job, attempt)
            # Else transactions before it are not mined, and the simulation may only miss them.
        if job.batch:
            await self._break_up(job)

    async def _first_attempt(self, job: JobRecord, verdict: _Verdict) -> None:
        if verdict.refusal is None:
            await self._send_first(job, verdict.gas)
        elif self._lanes.are_empty:
            await self._fail(job, verdict.refusal)

    async def _after_failure(
        self, job: JobRecord, receipts: list[Receipt], verdict: _Verdict
    ) -> None:
        """All nonces are used up and the job is not done: try again, or end it."""
        settled = await self._all_final(job, receipts)
        latest = self._latest.get(job.key)
        if receipts and not isinstance(latest, JobRearmed | JobStalled):
            why = "failed" if verdict.refusal is None else verdict.refusal.name
            self._tell(JobRearmed(key=job.key, name=job.name, reason=why))
        if verdict.passes and settled and len(job.attempts) >= _MOST_ATTEMPTS:
            why = f"mined and failed {len(job.attempts)} times"
            verdict = _Verdict(refusal=Revert(name=KEEPS_FAILING, text=why))
        again = settled or (job.repeatable and len(job.attempts) < _MOST_ATTEMPTS)
        if verdict.refusal is None:
            if again:
                await self._send_first(job, verdict.gas)
        elif settled:
            await self._fail(job, verdict.refusal)

    async def _all_final(self, job: JobRecord, receipts: list[Receipt]) -> bool:
        """Whether no attempt of the job can come back."""
        found = {each.transaction_hash for each in receipts}
        for receipt in receipts:
            if not await self._is_final(receipt):
                return False
        for attempt in job.attempts:
            if found.isdisjoint(each.hash for each in attempt.variants):
                account = self._lanes.account(attempt)
                final = await self._rpc.nonce(account, self._follower.head.final_number)
                if final <= attempt.nonce:
                    return False
        return True

    # ---- batches, and what is in the way

    async def _has_prospect(self, job: JobRecord) -> bool:
        """Whether a job without a nonce might get one now: else there is nothing to simulate."""
        base_fee = (await self._prices()).base_fee
        lanes = self._lanes
        return bool(lanes.room_for(job, base_fee) or lanes.stuck_for(job, base_fee)) or bool(
            lanes.less_urgent_than(job)
        )

    async def _form_batches(self, jobs: Sequence[JobRecord]) -> None:
        """Put checkpoints together where many wait, as far as there is room to send them."""
        waiting = [each for each in jobs if may_join(each) and each.key not in self._alone]
        if len(waiting) < LEAST_MEMBERS:
            return
        market = await self._prices()
        able = [each for each in waiting if self._can_pay(each, market)]
        for batch in batches_of(able, self._sequence)[: self._lanes.room]:
            await self._save(batch)
            self._carried.update(dict.fromkeys(batch.members, batch.key))

    def _can_pay(self, job: JobRecord, market: Market) -> bool:
        limit, _ = self._limit(job, _MEMBER_GAS, self.account)
        return self._fees.buys(market, limit)

    async def _break_up(self, batch: JobRecord) -> None:
        """Let the members of a batch go that cannot be mined, if some can pay for more."""
        market, held = await self._prices(), self._lanes.held(self._jobs[batch.key])
        last = [each.variants[-1].max_fee for each in held]
        if not last or max(last) >= market.base_fee:
            return
        members = [self._open[each] for each in batch.members if each in self._open]
        if any(self._can_pay(each, market) for each in members):
            await self._let_members_go(batch)

    async def _let_members_go(self, batch: JobRecord) -> None:
        for key in batch.members:
            self._drop(key)
        await self._save(attrs.evolve(self._jobs[batch.key], members=()))
        self._wake.set()

    async def _end_members(self, batch: JobRecord, receipt: Receipt) -> None:
        """A batch is final: so are those that it recorded; the others go each for itself."""
        async with trio.open_nursery() as nursery:
            for key in batch.members:
                self._carried.pop(key, None)
                member = self._open.get(key)
                if member is not None and is_recorded_by(receipt, member):
                    share = receipt.gas_used // len(batch.members)
                    nursery.start_soon(self._end_final, member, receipt, share)
                else:
                    self._drop(key)
                    self._alone.add(key)
        self._wake.set()

    def _drop(self, key: bytes) -> None:
        """A member goes on alone; what it has paid for its batch counts all the same."""
        self._carried.pop(key, None)
        member = self._open.get(key)
        if member is not None and member.channel:
            self._spent[member.channel] += self._paid.pop(key, 0)

    async def _unblock(self) -> None:
        """Use up, at our own expense, nonces that cannot be mined and have others behind them."""
        if self._lanes.are_empty:
            return
        base_fee = (await self._prices()).base_fee
        for slot in self._lanes.holding_up(base_fee):
            job = self._open.get(slot.job.key)
            if job is not None:
                with suppress(RpcRefusedError):
                    await self._fill(job, slot.attempt)

    # ---- what the chain says

    async def _receipts(self, job: JobRecord) -> list[Receipt]:
        found = []
        for attempt in reversed(job.attempts):
            if self._lanes.is_live(attempt):
                continue
            for variant in reversed(attempt.variants):
                receipt = await self._rpc.receipt(variant.hash)
                if receipt is not None:
                    found.append(receipt)
                    break
        return found

    @staticmethod
    def _is_real(job: JobRecord, receipt: Receipt) -> bool:
        return any(
            each.hash == receipt.transaction_hash and not each.filler
            for attempt in job.attempts
            for each in attempt.variants
        )

    async def _is_final(self, receipt: Receipt) -> bool:
        if not self._follower.is_final(receipt.block_number):
            return False
        block = await self._follower.block_at(receipt.block_number)
        return block.hash == receipt.block_hash

    async def _mined(self, job: JobRecord, receipt: Receipt, *, may_end: bool) -> None:
        latest = self._latest.get(job.key)
        if not isinstance(latest, JobMined) or latest.block_hash != receipt.block_hash:
            self._tell(
                JobMined(
                    key=job.key,
                    name=job.name,
                    transaction_hash=receipt.transaction_hash,
                    block_number=receipt.block_number,
                    block_hash=receipt.block_hash,
                    gas_used=receipt.gas_used,
                    gas_price=receipt.effective_gas_price,
                    contract_address=receipt.contract_address,
                )
            )
        if may_end and await self._is_final(receipt):
            if job.batch:
                await self._end_members(job, receipt)
            await self._end_final(job, receipt, receipt.gas_used)

    async def _simulate(self, job: JobRecord) -> _Verdict:
        if job.batch and not job.members:
            return _Verdict(refusal=NO_EFFECT)
        try:
            # All at the follower's head: a newer block may hold this very transaction.
            block = self._follower.tip.hash
            gas = await self._rpc.estimate_gas(
                job.to, job.data, sender=self.account, value=job.value, block=block
            )
            gas = job.gas or gas + gas // 4  # state may change; unused gas costs nothing
            if (job.answer is None and not job.batch) or job.to is None:
                return _Verdict(gas)
            answer = await self._rpc.call(job.to, job.data, sender=self.account, block=block)
            # A batch answers how many of its members it would record.
            effective = any(answer) if job.batch else answer == job.answer
            return _Verdict(gas) if effective else _Verdict(refusal=NO_EFFECT)
        except CallFailedError as error:
            return _Verdict(refusal=decode_revert(error.output))

    # ---- ending

    async def _end_final(self, job: JobRecord, receipt: Receipt, gas_used: int) -> None:
        await self._end(
            job,
            stage=Stage.FINAL,
            mined_hash=receipt.transaction_hash,
            mined_block=receipt.block_number,
            gas_used=gas_used,
        )

    async def _fail(self, job: JobRecord, refusal: Revert) -> None:
        if job.batch:
            await self._let_members_go(job)
        told = {"reason": refusal.name, "message": refusal.text, "output": refusal.output}
        await self._end(job, stage=Stage.FAILED, **told)

    async def _end(self, job: JobRecord, **changes: object) -> None:
        # What was wanted stays in the record (it may hold evidence), what was signed for it goes.
        paid = self._paid.pop(job.key, 0)
        before = self._jobs[job.key]
        ended = attrs.evolve(before, attempts=(), spent=before.spent + paid, **changes)  # type: ignore[arg-type]
        await self._save(ended)
        if job.channel:
            self._spent[job.channel] += paid
        for attempt in job.attempts:
            for variant in attempt.variants:
                self._sent_at.pop(variant.hash, None)
                self._untold.pop(variant.hash, None)
        self._seen_to.pop(job.key, None)
        self._alone.discard(job.key)
        self._tell(ending(ended))
        if job.batch:  # nobody asked for it, and nobody will ask what became of it
            with suppress(StorageError):
                await self.forget(job.key)
