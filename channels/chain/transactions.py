"""The transaction manager: from an intent to a final transaction, whatever happens in between.

A job's record is stored before anything of it leaves the process: the intent when it is accepted,
nonce and signed bytes before they are broadcast. So a crash at any point is safe: `start` reads
the records and `run` goes on. One task does everything, once for every new head:

- not mined: simulate, then broadcast the same bytes again; after some blocks replace them, bidding
  more;
- mined: wait for finality; reorganised away: as not mined;
- failed, or overtaken so that it would fail: its nonce is used up by a filler, so that no gap holds
  up other transactions, and the job is tried again under a new nonce if a simulation says that it
  can succeed, else it ends as failed, once that is final.

The account belongs to one manager: **may lose funds** if another process sends from it as well, as
either may replace the other's transactions.

Source: design, protocol.md "Chain access".
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from channels.chain.accounts import TransactionSigner, UnsignedTransaction
from channels.chain.board import KEEPS_FAILING, JobBoard, ending
from channels.chain.fees import Bid, FeePolicy
from channels.chain.heads import HeadFollower
from channels.chain.jobs import JobBroadcast, JobMined, JobRearmed, JobStalled
from channels.chain.records import Attempt, JobRecord, RecordStore, Stage, Variant
from channels.chain.reverts import NO_EFFECT, Revert, decode_revert
from channels.chain.rpc import CallFailedError, Receipt, Rpc, RpcRefusedError
from channels.errors import EndpointError
from channels.protocol.eip712 import Address, keccak

__all__ = ["TransactionManager"]

_FILLER_GAS: Final = 21_000
_MOST_ATTEMPTS: Final = 8


@attrs.frozen
class _Verdict:
    """What a simulation says: the gas to give, or why it fails."""

    gas: int = 0
    refusal: Revert | None = None

    @property
    def passes(self) -> bool:
        return self.refusal is None


class TransactionManager(JobBoard):
    """Sees one account's transactions through to finality.

    `start` it, then `run` it in a nursery beside the follower it watches.
    """

    def __init__(
        self,
        rpc: Rpc,
        follower: HeadFollower,
        signer: TransactionSigner,
        *,
        chain_id: int,
        store: RecordStore,
        fees: FeePolicy | None = None,
    ) -> None:
        super().__init__(store)
        self._rpc = rpc
        self._follower = follower
        self._signer = signer
        self._chain_id = chain_id
        self._fees = fees if fees is not None else FeePolicy()
        self._sent_at: dict[bytes, int] = {}
        self._untold: dict[bytes, JobBroadcast] = {}
        self._seen_to: dict[bytes, bytes] = {}
        self._nonce = 0

    @property
    def account(self) -> Address:
        """The account that pays."""
        return self._signer.address

    # ---- running

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
                await _first_of(changed, self._wake)

    async def _advance_all(self) -> bool:
        tip = self._follower.tip.hash
        jobs = sorted(self._open_jobs(), key=_place)
        jobs = [each for each in jobs if self._seen_to.get(each.key) != tip]
        if not jobs:
            return True
        self._nonce = await self._rpc.nonce(self.account, tip)
        complete = True
        for job in jobs:
            try:
                await self._advance(job)
                if self._is_open(job.key):
                    self._seen_to[job.key] = tip
            except RpcRefusedError as error:
                self._stall(job, error.reply)
                complete = False
        return complete

    async def _advance(self, job: JobRecord) -> None:
        receipts = await self._receipts(job)
        live = [each for each in job.attempts if each.nonce >= self._nonce]
        done = next((each for each in receipts if each.success and self._is_real(job, each)), None)
        if done is not None:
            for attempt in live:  # signed for a nonce that nothing else will use up
                await self._fill(job, attempt)
            await self._mined(job, done, may_end=not live)
            return
        if isinstance(self._latest.get(job.key), JobMined):
            self._tell(JobRearmed(key=job.key, name=job.name, reason="reorganised"))
            for attempt in live:  # the same bytes get their time anew before they are replaced
                self._sent_at.pop(attempt.variants[-1].hash, None)
        verdict = await self._simulate(job)
        if live:
            await self._press(job, live, verdict)
        elif not job.attempts:
            await self._first_attempt(job, verdict)
        else:
            await self._after_failure(job, receipts, verdict)

    async def _press(self, job: JobRecord, live: list[Attempt], verdict: _Verdict) -> None:
        """Get an attempt mined that is not."""
        for attempt in live:
            if verdict.passes:
                await self._send(job, attempt, verdict)
            elif attempt.nonce == self._nonce:
                await self._fill(job, attempt)
            # Else transactions before it are not mined, and the simulation may only miss them.

    async def _first_attempt(self, job: JobRecord, verdict: _Verdict) -> None:
        if verdict.refusal is None:
            await self._attempt(job, verdict)
        elif self._next_nonce() <= self._nonce:
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
        again = settled or (job.repeatable and receipts and len(job.attempts) < _MOST_ATTEMPTS)
        if verdict.refusal is None:
            if again:
                await self._attempt(job, verdict)
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
                final = await self._rpc.nonce(self.account, self._follower.head.final_number)
                if final <= attempt.nonce:
                    return False
        return True

    # ---- what the chain says

    async def _receipts(self, job: JobRecord) -> list[Receipt]:
        found = []
        for attempt in reversed(job.attempts):
            if attempt.nonce >= self._nonce:
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
            await self._end(
                job,
                stage=Stage.FINAL,
                mined_hash=receipt.transaction_hash,
                mined_block=receipt.block_number,
                gas_used=receipt.gas_used,
            )

    async def _simulate(self, job: JobRecord) -> _Verdict:
        try:
            # All at the follower's head: a newer block may hold this very transaction.
            block = self._follower.tip.hash
            gas = await self._rpc.estimate_gas(
                job.to, job.data, sender=self.account, value=job.value, block=block
            )
            gas = job.gas or gas + gas // 4  # state may change; unused gas costs nothing
            if job.answer is None or job.to is None:
                return _Verdict(gas)
            answer = await self._rpc.call(job.to, job.data, sender=self.account, block=block)
            if answer == job.answer:
                return _Verdict(gas)
            return _Verdict(refusal=NO_EFFECT)
        except CallFailedError as error:
            return _Verdict(refusal=decode_revert(error.output))

    # ---- signing and sending

    def _next_nonce(self) -> int:
        open_jobs = self._open_jobs()
        return max((each.nonce + 1 for job in open_jobs for each in job.attempts), default=0)

    async def _attempt(self, job: JobRecord, verdict: _Verdict) -> None:
        nonce = max(self._nonce, self._next_nonce())
        bid = self._fees.first(*await self._market(), self._limit(job))
        variant = await self._sign(job, nonce, bid, gas=verdict.gas)
        attempt = Attempt(nonce=nonce, variants=(variant,))
        await self._store_and_send(job, attempt, variant)

    async def _send(self, job: JobRecord, attempt: Attempt, verdict: _Verdict) -> None:
        """Broadcast again, or replace what was waited for long enough or is a filler."""
        last = attempt.variants[-1]
        if not last.filler and not self._is_due(last):
            await self._broadcast(job, last)
            return
        await self._replace(job, attempt, gas=verdict.gas)

    async def _fill(self, job: JobRecord, attempt: Attempt) -> None:
        last = attempt.variants[-1]
        if last.filler and not self._is_due(last):
            await self._broadcast(job, last)
        else:
            await self._replace(job, attempt, gas=0)

    async def _replace(self, job: JobRecord, attempt: Attempt, *, gas: int) -> None:
        last = attempt.variants[-1]
        before = Bid(max_fee=last.max_fee, priority_fee=last.priority_fee)
        bid = self._fees.raised(before, *await self._market(), self._limit(job))
        if bid is None:
            await self._broadcast(job, last)
            self._stall(job, f"the fee limit of {self._limit(job)} wei per gas is reached")
            return
        variant = await self._sign(job, attempt.nonce, bid, gas=gas)
        await self._store_and_send(
            job, attrs.evolve(attempt, variants=(*attempt.variants, variant)), variant
        )

    async def _sign(self, job: JobRecord, nonce: int, bid: Bid, *, gas: int) -> Variant:
        """Sign the job's transaction, or, with ``gas`` 0, one that only uses its nonce up."""
        filler = gas == 0
        raw = await self._signer.sign_transaction(
            UnsignedTransaction(
                chain_id=self._chain_id,
                nonce=nonce,
                to=self.account if filler else job.to,
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
        )

    async def _store_and_send(self, job: JobRecord, attempt: Attempt, variant: Variant) -> None:
        others = tuple(each for each in self._jobs[job.key].attempts if each.nonce != attempt.nonce)
        await self._save(
            attrs.evolve(
                self._jobs[job.key],
                stage=Stage.SIGNED,
                attempts=tuple(sorted((*others, attempt), key=lambda each: each.nonce)),
            )
        )
        self._sent_at[variant.hash] = self._follower.tip.number
        self._untold[variant.hash] = JobBroadcast(
            key=job.key,
            name=job.name,
            transaction_hash=variant.hash,
            nonce=attempt.nonce,
            bid=Bid(max_fee=variant.max_fee, priority_fee=variant.priority_fee),
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

    def _is_due(self, variant: Variant) -> bool:
        sent = self._sent_at.setdefault(variant.hash, self._follower.tip.number)
        return self._follower.tip.number - sent >= self._fees.replace_after

    async def _market(self) -> tuple[int, int | None]:
        return self._follower.tip.base_fee, await self._rpc.priority_fee()

    def _limit(self, job: JobRecord) -> int:
        return min(job.fee_limit, self._fees.limit) if job.fee_limit else self._fees.limit

    # ---- ending

    async def _fail(self, job: JobRecord, refusal: Revert) -> None:
        told = {"reason": refusal.name, "message": refusal.text, "output": refusal.output}
        await self._end(job, stage=Stage.FAILED, **told)

    async def _end(self, job: JobRecord, **changes: object) -> None:
        # What was wanted stays in the record (it may hold evidence), what was signed for it goes.
        ended = attrs.evolve(self._jobs[job.key], attempts=(), **changes)  # type: ignore[arg-type]
        await self._save(ended)
        for attempt in job.attempts:
            for variant in attempt.variants:
                self._sent_at.pop(variant.hash, None)
                self._untold.pop(variant.hash, None)
        self._seen_to.pop(job.key, None)
        self._tell(ending(ended))


def _place(job: JobRecord) -> tuple[int, int]:
    """Jobs in the order of their nonces, then those without one as they were accepted."""
    return min((each.nonce for each in job.attempts), default=1 << 64), job.sequence


async def _first_of(*events: trio.Event) -> None:
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)
