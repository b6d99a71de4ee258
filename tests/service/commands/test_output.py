from __future__ import annotations

import pytest

from service.commands.output import dollars, number, progress_bar, table


def test_a_progress_bar_is_shown_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    with progress_bar() as progress:
        progress(1, 2)
    silent = capsys.readouterr()
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich then treats any output as a terminal
    with progress_bar() as progress:
        progress(2, 2, "$0.5 of $2")
    shown = capsys.readouterr()

    assert silent.err == ""
    assert "2/2" in shown.err
    assert "$0.5 of $2" in shown.err
    assert silent.out == shown.out == ""


def test_a_table_has_aligned_columns() -> None:
    assert table(("model", "n"), [["a", "1"], ["longer", "12"]]) == "model    n\na        1\nlonger  12"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (0.0, "0"),
        (3.0, "3"),
        (0.123456, "0.123"),
        (1234.5, "1234"),
        (1.5e-7, "0.00000015"),
    ],
)
def test_numbers_are_short(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0, "$0"), (0.00025, "$0.00025"), (-0.000234, "-$0.000234")]
)
def test_dollars_have_their_sign_in_front(value: float | None, shown: str) -> None:
    assert dollars(value) == shown
