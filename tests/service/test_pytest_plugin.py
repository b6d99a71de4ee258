"""The fixtures for other people's tests, in a run of pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
TESTS = """
import openai
import pytest


def ask(base_url, text):
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        messages = [{"role": "user", "content": text}]
        answer = client.chat.completions.create(model="mock-small", messages=messages)
        return answer.choices[0].message.content


def test_the_mock_answers_ok_until_it_is_told(llm_router_mock):
    assert ask(llm_router_mock.base_url, "Hello") == "ok"
    llm_router_mock.answer({"when": "*France*", "text": "Paris"}, "something else")

    assert ask(llm_router_mock.base_url, "The capital of France?") == "Paris"
    assert [call.question for call in llm_router_mock.calls] == ["Hello", "The capital of France?"]


def test_each_test_begins_with_a_new_mock(llm_router_mock):
    assert not llm_router_mock.calls
    assert ask(llm_router_mock.base_url, "The capital of France?") == "ok"


async def test_a_router_asks_the_mock(llm_router):
    llm_router.mock.answer("from behind the router")

    async with openai.AsyncOpenAI(base_url=llm_router.base_url, api_key="none", max_retries=0) as client:
        messages = [{"role": "user", "content": "Hello"}]
        answer = await client.chat.completions.create(model="auto", messages=messages)

    assert answer.choices[0].message.content == "from behind the router"
    assert len(llm_router.mock.calls) == 1
"""


def test_other_projects_use_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(INI)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = ["-p", "pytest_asyncio.plugin", "-p", "service.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins]

    run = subprocess.run(
        [*command, str(tmp_path)], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {"llm-router": "service.pytest_plugin"}


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    script = "import sys, service.pytest_plugin; print(*sys.modules)"

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)

    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert {"service", "pytest"} <= loaded
    assert not loaded & {"aiohttp", "asyncpg", "fastapi", "httpx", "numpy", "pydantic", "structlog", "yaml"}
