from __future__ import annotations

from pathlib import Path

import pytest

from service.cli import main


@pytest.mark.parametrize("key", ["max_similar_requests: 1000", "escalation: true"])
def test_a_candidate_that_no_log_can_tell_of_is_refused_with_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    candidate = tmp_path / "candidate.yaml"
    candidate.write_text(f"{key}\n")

    code = main(["evaluate", "--config", str(candidate), "--since", "2026-11-01T00:00"])

    assert code == 3
    assert capsys.readouterr().out.startswith("2026-11-01 00:00 to ")


def test_a_candidate_that_is_not_there_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--config", str(tmp_path / "nothing.yaml")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_moment_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--config", "any.yaml", "--since", "yesterday"])

    assert "--since" in capsys.readouterr().err
