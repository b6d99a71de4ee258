from __future__ import annotations

import pytest

from service.commands.output import progress_bar


def test_a_progress_bar_is_shown_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    with progress_bar() as progress:
        progress(1, 2)
    silent = capsys.readouterr()
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich then treats any output as a terminal
    with progress_bar() as progress:
        progress(2, 2)
    shown = capsys.readouterr()

    assert silent.err == ""
    assert "2/2" in shown.err
    assert silent.out == shown.out == ""
