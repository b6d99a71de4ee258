"""Damaged lines of the spool are set aside and counted; the other lines are used."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from service.store.spool.codec import CompletedRun, decode, encode
from service.store.spool.durable_lines import LineFile
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal
from tests.fakes_store import FakeJournal, FakeStore
from tests.integration.stores import a_decision, an_attempt, an_outcome

MEGABYTE = 1_000_000


async def spooled(store: FakeStore, folder: Path) -> Path:
    """The file of a process that spooled three decisions and ended."""
    journal = SpoolingJournal(FakeJournal(store), Spool(folder, MEGABYTE), retry_every_s=3600.0)
    await journal.start()
    store.is_down = True
    for request_id in ("r0", "r1", "r2"):
        await journal.log_decision(a_decision(request_id))
    await journal.close()
    return next(folder.glob("*.jsonl"))  # noqa: ASYNC240


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda line: line.replace(b'"propensity":0.7', b'"propensity":0.1'), id="a flipped bit"),
        pytest.param(lambda line: bytes(len(line) - 1) + b"\n", id="a zeroed block"),
        pytest.param(lambda line: line[:100] + b"\n", id="a torn line"),
        pytest.param(lambda line: b'{"kind":"decision","n_chars":1,"decision":[]}\n', id="another shape"),
        pytest.param(lambda line: b"[]\n", id="no object"),
        pytest.param(lambda line: b"\xff\xfe\n", id="no text"),
    ],
)
async def test_one_damaged_line_stops_neither_the_start_nor_the_others(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    store = FakeStore()
    file = await spooled(store, tmp_path)
    first, second, third = file.read_bytes().splitlines(keepends=True)
    damaged = damage(second)
    assert damaged != second
    file.write_bytes(first + damaged + third)

    heir = SpoolingJournal(FakeJournal(store), Spool(tmp_path, MEGABYTE), retry_every_s=3600.0)
    await heir.start()
    assert heir.n_rejected == 1  # known before PostgreSQL is back
    store.is_down = False
    await heir.drain()

    assert {d.query.request_id for d in store.decisions.values()} == {"r0", "r2"}
    assert (tmp_path / "rejected").read_bytes() == damaged
    assert (heir.n_rejected, heir.n_spooled) == (1, 0)
    await heir.close()


def test_any_damage_is_either_noticed_or_harmless() -> None:
    rng = random.Random(0)
    decision = a_decision()
    for entry in (decision, CompletedRun(an_outcome(decision), (an_attempt(decision),))):
        line = encode(entry, store_texts=False)
        for _ in range(5_000):
            damaged = bytearray(line)
            damaged[rng.randrange(len(line))] = rng.choice(b'0129abc"{}[],:\x00\xff- ')
            if bytes(damaged) == line:
                continue
            try:
                back = decode(bytes(damaged))
            except ValueError:
                continue
            assert encode(back, store_texts=False) == line  # only the name of the checksum was hit


async def test_lines_set_aside_survive_a_deletion_of_others_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = LineFile(tmp_path)
    for line in (b"forgotten\n", b"kept\n"):
        await lines.set_aside(line)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            await lines.drop_set_aside({b"forgotten\n"})
    assert await lines.set_aside_lines() == [b"forgotten\n", b"kept\n"]

    await lines.drop_set_aside({b"forgotten\n"})
    await lines.close()
    assert (tmp_path / "rejected").read_bytes() == b"kept\n"


async def test_processes_set_lines_aside_while_another_deletes_some(tmp_path: Path) -> None:
    processes = [LineFile(tmp_path) for _ in range(4)]
    kept = [f"{number}\n".encode() for number in range(200)]
    await processes[0].set_aside(b"forgotten\n")

    await asyncio.gather(
        *(processes[number % 3].set_aside(line) for number, line in enumerate(kept)),
        *(processes[3].drop_set_aside({b"forgotten\n", line}) for line in kept[:20]),
    )

    left = set(await processes[3].set_aside_lines())
    for process in processes:
        await process.close()
    assert set(kept[20:]) <= left
