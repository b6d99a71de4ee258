from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest

from service.calibration.grading import sandbox_launcher
from service.calibration.grading.sandbox import Limits, Sandbox
from service.calibration.grading.unit_tests import UnitTests, code_of
from tests.e2e.running import eventually, processes_of
from tests.service.calibration.grading.grading import prompt, score

RIGHT = "def add(a, b):\n    return a + b\n"
WRONG = "def add(a, b):\n    return a - b\n"
ASSERTION = "assert add(1, 2) == 3"
FUNCTION = "def test_add():\n    assert add(1, 2) == 3\n"
COROUTINE = "async def test_add():\n    assert add(1, 2) == 3\n"
CLASS = (
    "from unittest import TestCase\nclass AddTest(TestCase):\n"
    "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n"
)
IMPORTING = "from answer import add as tested\nassert tested(1, 2) == 3\n"
LONG = Limits(cpu_s=60, wall_s=60.0)


@pytest.mark.parametrize("tests", [ASSERTION, FUNCTION, COROUTINE, CLASS, IMPORTING])
async def test_code_passes_only_if_its_tests_do(tests: str) -> None:
    assert await score(UnitTests(), RIGHT, tests=tests) == 1
    assert await score(UnitTests(), WRONG, tests=tests) == 0


@pytest.mark.parametrize(
    "code",
    [
        f"{RIGHT}import sys\nsys.exit(0)",
        f"{RIGHT}import os\nos._exit(0)",
        f"{RIGHT}raise SystemExit",
        f"{WRONG}def test_add(): pass",
        "def add(a, b",
        "",
        "I cannot help with that.",
    ],
)
async def test_code_that_ends_by_itself_does_not_pass(code: str) -> None:
    assert await score(UnitTests(), code, tests=FUNCTION) == 0


async def test_an_example_for_the_command_line_is_not_run() -> None:
    code = f"{RIGHT}if __name__ == '__main__':\n    print(add(int(input()), 1))\n"

    assert await score(UnitTests(), code, tests=ASSERTION) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("Use:\n```\nx = 1\n```\nDone.", "x = 1\n"),
        ("```bash\npip install long-name-of-a-package\n```\n```py\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\n```python\nx = 1\ny = 2\n```", "x = 1\ny = 2\n"),
        ("```python\nx = 1\n", "x = 1\n"),
        ("x = 1", "x = 1"),
    ],
)
def test_code_is_found_in_an_answer(answer: str, code: str) -> None:
    assert code_of(answer) == code


@pytest.mark.parametrize("character", ["a", " ", "+", "a ", "`"])
def test_a_long_line_after_a_fence_takes_no_longer_than_its_length(character: str) -> None:
    answer = "```" + character * 2_000_000

    assert code_of(answer) == answer


@pytest.mark.parametrize(
    ("tests", "rule"),
    [
        (None, "tests: is required by the grader unit-tests"),
        (" ", "tests: is required by the grader unit-tests"),
        ("assert (", "tests: must be Python: '(' was never closed (<unknown>, line 1)"),
        ("def test_add(function): pass", "tests: test_add must have no parameters"),
    ],
)
def test_tests_that_cannot_run_are_reported(tests: str | None, rule: str) -> None:
    assert UnitTests().reason_against(prompt(tests=tests)) == rule


async def test_code_sees_no_secret_and_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    code = "import os, sys\nassert 'OPENAI_API_KEY' not in os.environ\nassert sys.stdin.read() == ''"

    assert await score(UnitTests(), code, tests="pass") == 1


@pytest.mark.parametrize("file", ["environ", "mem", "maps"])
async def test_code_reads_no_memory_and_no_environment_of_the_router(file: str) -> None:
    code = f"""
try:
    open("/proc/{os.getpid()}/{file}").close()
except PermissionError:
    can_read = False
else:
    can_read = True
"""
    assert await score(UnitTests(), code, tests="assert not can_read") == 1


async def test_memory_and_files_are_limited() -> None:
    limited = UnitTests(Sandbox(Limits(memory_bytes=2**28, file_bytes=2**20)))

    assert await score(limited, "x = bytearray(2**20)", tests="open('f', 'wb').write(b'0' * 2**10)") == 1
    assert await score(limited, "x = bytearray(2**29)", tests="pass") == 0
    assert await score(limited, "open('f', 'wb').write(b'0' * 2**21)", tests="pass") == 0


@pytest.mark.parametrize(
    "limits", [Limits(cpu_s=1, wall_s=60.0), Limits(cpu_s=60, wall_s=1.0)], ids=["cpu", "wall"]
)
async def test_code_that_never_ends_is_stopped(limits: Limits) -> None:
    assert await score(UnitTests(Sandbox(limits)), "while True: pass", tests="pass") == 0


async def test_code_that_sleeps_is_stopped() -> None:
    assert (
        await score(UnitTests(Sandbox(Limits(wall_s=1.0))), "import time\ntime.sleep(3600)", tests="pass")
        == 0
    )


async def test_code_that_forks_for_ever_is_stopped() -> None:
    bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"

    assert await score(UnitTests(Sandbox(Limits(wall_s=5.0))), bomb, tests="pass") == 0


@pytest.mark.parametrize(("n_allowed", "is_right"), [(200, True), (8, False)])
async def test_processes_are_limited(n_allowed: int, is_right: bool) -> None:
    code = (
        "import os, time\n"
        "for _ in range(40):\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(1)\n"
        "        os._exit(0)\n"
        "for _ in range(40):\n"
        "    os.wait()\n"
    )
    limits = Limits(cpu_s=60, wall_s=60.0, n_processes=n_allowed)

    assert await score(UnitTests(Sandbox(limits)), code, tests="pass") == is_right


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all sandboxes of a test, by which its processes are known."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


async def test_nothing_outlives_the_tests(folder: Path) -> None:
    demon = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(3600)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )

    assert await score(UnitTests(Sandbox(LONG)), demon, tests="pass") == 1

    assert processes_of(folder) == []


async def test_stopping_the_grading_stops_the_program(folder: Path) -> None:
    sleeper = "import time\ntime.sleep(3600)"
    grading = asyncio.create_task(score(UnitTests(Sandbox(LONG)), sleeper, tests="pass"))
    await asyncio.to_thread(eventually, lambda: any("run.py" in each for each in processes_of(folder)))

    grading.cancel()
    with suppress(asyncio.CancelledError):
        await grading

    assert processes_of(folder) == []


@pytest.fixture
def new_network() -> None:
    """Skip the test if this machine allows no process a network of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("only Linux can part a process from the network")
    if subprocess.run(["unshare", "--net", "--map-root-user", "true"], check=False).returncode != 0:
        pytest.skip("this machine allows no new network")


@pytest.mark.usefixtures("new_network")
async def test_code_has_no_network_where_the_platform_allows_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        code = f"import socket\nsocket.create_connection({address!r}, 5)"

        assert await score(UnitTests(Sandbox(LONG)), code, tests="pass") == 0


def test_a_program_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("import time\ntime.sleep(3600)")
    limits = {**asdict(Limits(cpu_s=60, wall_s=3600.0)), "arguments": ["run.py"]}
    launcher = subprocess.Popen(
        [sys.executable, "-I", sandbox_launcher.__file__],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert launcher.stdin is not None
    launcher.stdin.write(orjson.dumps(limits) + b"\n")
    launcher.stdin.flush()
    eventually(lambda: any("run.py" in each for each in processes_of(tmp_path)))

    launcher.stdin.close()  # as the kernel does when the writer is killed

    assert launcher.wait(60) == sandbox_launcher.TIMED_OUT
    assert processes_of(tmp_path) == []
