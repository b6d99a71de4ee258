from __future__ import annotations

from pathlib import Path

import pytest

from service.calibration.kept_prompts import KeptPrompts
from service.calibration.prompts import prompt_of
from service.errors import StartupError

WANTED = {"from_log": "7d", "sample": "2"}
PROMPTS = [
    prompt_of({"prompt": "What is 6 * 7?", "expected": ["42", 42], "task": "math", "temperature": 0}),
    prompt_of({"messages": [{"role": "user", "content": "\0 \U0001f642"}], "tests": "assert f() == 1"}),
]


def test_kept_prompts_come_back_as_they_were(tmp_path: Path) -> None:
    kept = KeptPrompts(tmp_path / "new" / "prompts", WANTED)

    kept.keep(PROMPTS)

    assert kept.read() == PROMPTS
    assert (tmp_path / "new" / "prompts").stat().st_mode & 0o777 == 0o600


def test_prompts_of_another_wish_are_not_those_wanted(tmp_path: Path) -> None:
    KeptPrompts(tmp_path / "prompts", WANTED).keep(PROMPTS)

    assert KeptPrompts(tmp_path / "prompts", {**WANTED, "sample": "3"}).read() is None


def test_forgotten_prompts_are_gone(tmp_path: Path) -> None:
    kept = KeptPrompts(tmp_path / "prompts", WANTED)
    kept.keep(PROMPTS)

    kept.forget()
    kept.forget()

    assert kept.read() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"wanted": {}}', b'{"wanted": {"a": "b"}, "prompts": [{}]}']
)
def test_a_broken_file_is_reported_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prompts").write_bytes(content)

    with pytest.raises(StartupError, match="has no prompts of a calibration"):
        KeptPrompts(tmp_path / "prompts", {"a": "b"} if b"prompts" in content else {}).read()


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StartupError, match="cannot be written"):
        KeptPrompts(tmp_path / "file" / "prompts", WANTED).keep(PROMPTS)
