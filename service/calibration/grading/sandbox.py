"""Runs a Python program that nobody has read: limited, apart, and without an end that it could outlive."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from service.calibration.grading.grader import NotGraded
from service.calibration.grading.sandbox_launcher import IS_DUMPABLE, NOT_STARTED, TIMED_OUT, linux

_LAUNCHER = Path(__file__).with_name("sandbox_launcher.py")
_GRACE_S = 30.0  # in which the launcher kills what is left


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use."""

    cpu_s: int = 10
    wall_s: float = 20.0
    memory_bytes: int = 2**30  # of addresses
    file_bytes: int = 2**24
    n_processes: int = 32


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Runs programs, as many at a time as there are processors.

    A program gets a folder of its own, no environment and no input, and where the platform allows it no
    network and no rights of the user root. It can still read the files of its user, but not the environment
    and the memory of this process, where keys are.
    """

    limits: Limits = field(default_factory=Limits)
    _slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(os.cpu_count() or 1), compare=False, repr=False
    )

    async def status(self, files: Mapping[str, str], *arguments: str) -> int:
        """The exit status of a program; TIMED_OUT if it takes too long.

        Args:
            files: the texts of its folder, by name.
            arguments: the name of its main file, and its arguments.

        Raises:
            NotGraded: it could not be started.
        """
        linux("prctl", IS_DUMPABLE, 0)  # no other process of this user reads its memory and its environment
        async with self._slots:
            with tempfile.TemporaryDirectory(
                prefix="llm-router-sandbox-", ignore_cleanup_errors=True
            ) as name:
                for file, text in files.items():
                    (Path(name) / file).write_text(text, "utf-8", errors="replace")
                status = await self._run(name, arguments)
        if status == NOT_STARTED:
            raise NotGraded("the program could not be started")
        return status

    async def _run(self, folder: str, arguments: tuple[str, ...]) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(_LAUNCHER),
            cwd=folder,
            env={"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "OPENBLAS_NUM_THREADS": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C does not reach it: it ends with this process
        )
        assert process.stdin is not None
        try:
            process.stdin.write(orjson.dumps({**asdict(self.limits), "arguments": arguments}) + b"\n")
            async with asyncio.timeout(self.limits.wall_s + _GRACE_S):
                return await process.wait()
        except TimeoutError:
            return TIMED_OUT
        finally:
            process.stdin.close()  # the launcher kills everything and ends
            try:
                async with asyncio.timeout(_GRACE_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
