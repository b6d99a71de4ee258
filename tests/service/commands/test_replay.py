from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.cli import main
from service.commands.jobs.replay.demo import DEMO_FILE
from service.commands.jobs.replay.outcomes import read_outcomes
from service.commands.jobs.replay.tariff import router_settings
from service.commands.jobs.replay.upstream import RecordedUpstream
from tests.service.commands.jobs.replay.fake_router import FakeRouter


@pytest.fixture
async def router() -> AsyncIterator[FakeRouter]:
    outcomes = read_outcomes(DEMO_FILE)
    async with RecordedUpstream(outcomes) as upstream:
        yield FakeRouter(router_settings(outcomes, upstream.base_url))


async def replay(router: FakeRouter, out: Path, *options: str) -> int:
    async with router.serve() as url:
        arguments = ["replay", str(DEMO_FILE), "--url", url, "--rows", "12", "--out", str(out), *options]
        return await asyncio.to_thread(main, arguments)


async def test_a_replay_prints_its_report_and_where_it_is_kept(
    router: FakeRouter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await replay(router, tmp_path)

    printed = capsys.readouterr()
    report = (tmp_path / "report.txt").read_text()
    assert code == 0
    assert printed.out == f"{report}report.txt, report.json and report.png are in {tmp_path}\n"
    assert printed.err == ""


async def test_a_replay_prints_what_the_json_report_holds(
    router: FakeRouter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await replay(router, tmp_path, "--json")

    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert printed["n"] == 12
    assert printed == json.loads((tmp_path / "report.json").read_text())


async def test_a_replay_with_a_failed_request_ends_with_exit_code_1(
    router: FakeRouter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    router.fails_on = lambda _: len(router.prompts) == 3

    code = await replay(router, tmp_path, "--json")

    assert code == 1
    assert json.loads(capsys.readouterr().out)["n_failed"] == 1
