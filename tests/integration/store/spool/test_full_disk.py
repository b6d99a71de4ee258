"""A full disk: the space that the spool keeps takes the decisions that PostgreSQL cannot take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from service.errors import StoreUnavailable
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal
from tests.fakes_store import FakeJournal, FakeStore
from tests.integration.small_disk import SmallDisk
from tests.integration.stores import a_decision

RESERVE = 1_000_000
MEGABYTES = 100_000_000


async def open_journal(store: FakeStore, folder: Path, *, reserve_bytes: int = RESERVE) -> SpoolingJournal:
    """A journal that drains only at its start and on `drain`."""
    spool = Spool(folder, MEGABYTES, reserve_bytes=reserve_bytes)
    journal = SpoolingJournal(FakeJournal(store), spool, retry_every_s=3600.0)
    await journal.start()
    return journal


async def fill_the_reserve(journal: SpoolingJournal) -> int:
    """Spool until nothing more is taken; returns the number of acknowledged decisions."""
    n_kept = 0
    with suppress(StoreUnavailable):
        while True:
            await journal.log_decision(a_decision(f"r{n_kept}"))
            n_kept += 1
    return n_kept


async def test_decisions_are_kept_on_a_full_disk_and_written_later(small_disk: SmallDisk) -> None:
    store = FakeStore()
    journal = await open_journal(store, small_disk.path / "spool")
    assert journal.reserved_bytes == RESERVE
    store.is_down = True
    small_disk.fill()

    for number in range(100):
        await journal.log_decision(a_decision(f"r{number}"))

    assert (journal.n_spooled, journal.n_refused) == (100, 0)
    assert not journal.keeping.is_failing
    assert journal.reserved_bytes < RESERVE
    store.is_down = False
    await journal.drain()
    assert len(store.decisions) == 100
    await journal.close()


async def test_a_loss_is_told_until_something_is_kept_again(small_disk: SmallDisk) -> None:
    store = FakeStore()
    journal = await open_journal(store, small_disk.path / "spool")
    store.is_down = True
    small_disk.fill()

    n_kept = await fill_the_reserve(journal)

    assert n_kept > 100
    assert (journal.n_spooled, journal.n_refused) == (n_kept, 1)
    assert journal.keeping.is_failing
    small_disk.free()
    await journal.log_decision(a_decision("afterwards"))
    assert not journal.keeping.is_failing
    store.is_down = False
    await journal.drain()
    assert len(store.decisions) == n_kept + 1
    await journal.close()


async def test_what_was_kept_on_a_full_disk_survives_a_crash(small_disk: SmallDisk) -> None:
    store = FakeStore()
    crashed = await open_journal(store, small_disk.path / "spool")
    store.is_down = True
    small_disk.fill()
    n_kept = await fill_the_reserve(crashed)
    await crashed.close()
    store.is_down = False

    heir = await open_journal(store, small_disk.path / "spool")
    await heir.drain()

    assert len(store.decisions) == n_kept
    await heir.close()


async def test_the_space_is_kept_again_after_the_spool_was_emptied(small_disk: SmallDisk) -> None:
    store = FakeStore()
    journal = await open_journal(store, small_disk.path / "spool")
    for _ in range(3):
        store.is_down = True
        small_disk.fill()
        for number in range(100):
            await journal.log_decision(a_decision(f"r{number}"))
        small_disk.free()
        store.is_down = False
        await journal.drain()
        store.decisions.clear()

    assert journal.reserved_bytes == RESERVE
    assert journal.n_refused == 0
    await journal.close()


async def test_without_a_reserve_the_first_decision_on_a_full_disk_is_lost(small_disk: SmallDisk) -> None:
    store = FakeStore()
    journal = await open_journal(store, small_disk.path / "spool", reserve_bytes=0)
    store.is_down = True
    small_disk.fill()

    assert await fill_the_reserve(journal) == 0
    await journal.close()
