from __future__ import annotations

import pytest

from service.cli import main
from service.commands.optimize import require_dspy
from service.errors import StartupError


def test_without_dspy_the_command_says_how_to_get_it() -> None:
    require_dspy(lambda package: package)

    with pytest.raises(StartupError, match=r"pip install 'dspy\[optuna\]'"):
        require_dspy(lambda package: None if package == "optuna" else package)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--budget-usd", "1"], "--task and --budget-usd are required"),
        (["--task", "sums"], "--task and --budget-usd are required"),
        (["--task", "sums", "--budget-usd", "much"], "must be an amount of US dollars"),
        (["--task", "sums", "--budget-usd", "1", "--out", "no/such/folder/a.json"], "--out must be a file"),
    ],
)
def test_wrong_arguments_are_reported_before_anything_is_opened(
    capsys: pytest.CaptureFixture[str], arguments: list[str], fault: str
) -> None:
    assert main(["optimize", *arguments]) == 2

    assert fault in capsys.readouterr().err
