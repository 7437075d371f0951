"""Run by test_durability: commits from several tasks until killed, telling what was acknowledged.

Task t commits (t, 1), (t, 2), ... and writes "t n" to standard output once the store says so.
"""

from __future__ import annotations

import os
import sys

import trio

from channels.storage import AppendJournal, PutChannel, Store, open_store

TASKS = 4


async def committing(store: Store, task: int) -> None:
    mirror, channel = bytes([task]) * 32, bytes([task + 128]) * 32
    done = int.from_bytes(store.channels().get(channel, b""), "big")
    while True:
        done += 1
        record = done.to_bytes(8, "big")
        await store.commit(
            [
                PutChannel(channel_id=channel, record=record),
                AppendJournal(channel_id=channel, kind=task, body=record + bytes(300)),
                PutChannel(channel_id=mirror, record=record),
            ]
        )
        os.write(1, b"%d %d\n" % (task, done))


async def main(path: str) -> None:
    async with open_store(path) as store, trio.open_nursery() as nursery:
        os.write(1, b"open\n")
        for task in range(TASKS):
            nursery.start_soon(committing, store, task)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
