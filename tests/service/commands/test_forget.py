"""What `router forget` understands by its options."""

from __future__ import annotations

import pytest

from service.cli import main


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ([], "one of --request, --session, --tenant and --before must be given"),
        (["--request", "r1", "--session", "s1"], "names a request or a session, not both"),
        (["--before", "soon"], "soon"),
        (["--tenant", "two words"], "must be 1 to 128 visible ASCII characters"),
    ],
)
def test_a_selection_that_names_nothing_clear_is_rejected(
    capsys: pytest.CaptureFixture[str], options: list[str], rule: str
) -> None:
    code = main(["forget", *options, "--yes"])

    assert code == 2
    assert rule in capsys.readouterr().err
