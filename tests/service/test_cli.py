from __future__ import annotations

from pathlib import Path

import pytest

from service.cli import main


@pytest.mark.parametrize("key", ["max_similar_requests: 1000", "escalation: true"])
def test_a_candidate_that_no_log_can_judge_is_rejected_with_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    candidate = tmp_path / "candidate.yaml"
    candidate.write_text(f"{key}\n")

    code = main(["evaluate", "--config", str(candidate), "--since", "2026-11-01T00:00"])

    assert code == 3
    assert capsys.readouterr().out.startswith("2026-11-01 00:00 to ")


def test_a_missing_candidate_is_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--config", str(tmp_path / "nothing.yaml")]) == 1

    errors = capsys.readouterr().err
    assert errors.startswith("router: --config: cannot read ")
    assert errors.count("\n") == 1


def test_a_range_that_ends_before_it_begins_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--config", "any.yaml", "--since", "1d", "--until", "2d"]) == 1

    assert "--since must be before --until" in capsys.readouterr().err


@pytest.mark.parametrize("time", ["yesterday", "7x", "999999999d", "2026-11-28T99:00"])
def test_an_invalid_time_is_rejected(capsys: pytest.CaptureFixture[str], time: str) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--config", "any.yaml", "--since", time])

    errors = capsys.readouterr().err
    assert (
        f"--since: must be a moment (2026-11-24T08:00) or how long ago (7d, 12h, 30m), got {time!r}" in errors
    )


@pytest.mark.parametrize("command", [["evaluate", "--config", "any.yaml"], ["import", "any.jsonl"]])
@pytest.mark.parametrize("tenant", ["", "two words", "t" * 129])
def test_an_invalid_tenant_is_rejected(
    capsys: pytest.CaptureFixture[str], command: list[str], tenant: str
) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--tenant", tenant])

    assert "--tenant: must be 1 to 128 visible ASCII characters" in capsys.readouterr().err
