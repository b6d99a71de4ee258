"""What was asked and answered, on disk: an interrupted calibration goes on without paying twice."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import orjson

from service.domain.basics import Json
from service.errors import StartupError

HEAD: Json = {"journal": "router calibrate", "version": 1}


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a call.

    Args:
        text: None: there is nothing to grade.
        answered_at: None: the model did not answer, so it may be asked again.
        problem: why there is nothing to grade.
    """

    text: str | None
    cost_usd: Decimal | None
    latency_s: float
    answered_at: datetime | None
    problem: str | None = None


@dataclass(slots=True)
class CallJournal:
    """The calls of calibrations, with a line for the start and one for the end of each; lines are only added.

    Args:
        replies: of the models that answered, by the key of their call.
        spent_usd: dollars of the calibration that is not complete yet; a call that was started and never
            ended counts at its worst price.
    """

    replies: dict[str, Reply] = field(default_factory=dict)
    spent_usd: Decimal = Decimal(0)
    _file: int | None = None  # None: nothing is written

    def started(self, key: str, worst_usd: Decimal) -> None:
        """Record that a call begins."""
        self._write({"started": key, "worst_usd": str(worst_usd)})

    def ended(self, key: str, reply: Reply, counted_usd: Decimal) -> None:
        """Record the result of a call, and the dollars that it adds to those spent."""
        self._write({"ended": key, "counted_usd": str(counted_usd), **_written(reply)})
        if reply.answered_at is not None:
            self.replies[key] = reply

    def completed(self) -> None:
        """Record that nothing is left to ask: what follows is another calibration with its own dollars."""
        self._write({"completed": True})

    async def sync(self) -> None:
        """Wait until what was written survives a loss of power."""
        if self._file is not None:
            with _reported():
                await asyncio.to_thread(os.fsync, self._file)

    def _write(self, line: Json) -> None:
        if self._file is None:
            return
        rest = orjson.dumps(line) + b"\n"
        with _reported():
            while rest:
                rest = rest[os.write(self._file, rest) :]


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartupError(f"the journal cannot be written: {error.strerror}") from error


@contextmanager
def open_journal(path: Path) -> Iterator[CallJournal]:
    """Open a journal, or create it; nobody else may write it meanwhile.

    Raises:
        StartupError: it cannot be opened, another process writes it, or it is something else.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise StartupError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lines = _whole_lines(file, path)
        journal = CallJournal(_file=file)
        if lines:
            _read(journal, lines, path)
        else:
            journal._write(HEAD)
        yield journal
    except BlockingIOError as error:
        raise StartupError(f"{path}: another calibration is writing it") from error
    finally:
        os.close(file)


def _whole_lines(file: int, path: Path) -> list[bytes]:
    """The lines of the file; the last one is cut off if its writer was killed before its end."""
    size = os.fstat(file).st_size
    content = os.pread(file, size, 0)
    end = content.rfind(b"\n") + 1
    head = orjson.dumps(HEAD) + b"\n"
    if not content.startswith(head) and not head.startswith(content):
        raise StartupError(f"{path}: is not a journal of `router calibrate`")
    if end < size:
        os.ftruncate(file, end)
    return content[:end].splitlines()


def _read(journal: CallJournal, lines: list[bytes], path: Path) -> None:
    """Read the calls of earlier runs."""
    under_way: dict[str, Decimal] = {}
    for number, raw in enumerate(lines, 1):
        try:
            _apply(journal, orjson.loads(raw), under_way)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise StartupError(f"{path} line {number}: is not a line of a journal") from error
    journal.spent_usd += sum(under_way.values(), Decimal(0))


def _apply(journal: CallJournal, line: Json, under_way: dict[str, Decimal]) -> None:
    if "started" in line:
        journal.spent_usd += under_way.pop(line["started"], Decimal(0))  # an earlier one, which never ended
        under_way[line["started"]] = Decimal(line["worst_usd"])
    elif "ended" in line:
        under_way.pop(line["ended"], None)
        journal.spent_usd += Decimal(line["counted_usd"])
        if (reply := _reply(line)).answered_at is not None:
            journal.replies[line["ended"]] = reply
    elif "completed" in line:
        under_way.clear()
        journal.spent_usd = Decimal(0)
    elif "journal" not in line:
        raise ValueError


def _written(reply: Reply) -> Json:
    return {
        "text": reply.text,
        "cost_usd": None if reply.cost_usd is None else str(reply.cost_usd),
        "latency_s": reply.latency_s,
        "answered_at": reply.answered_at,
        "problem": reply.problem,
    }


def _reply(line: Json) -> Reply:
    cost_usd, answered_at = line["cost_usd"], line["answered_at"]
    return Reply(
        text=line["text"],
        cost_usd=None if cost_usd is None else Decimal(cost_usd),
        latency_s=line["latency_s"],
        answered_at=None if answered_at is None else datetime.fromisoformat(answered_at),
        problem=line["problem"],
    )
