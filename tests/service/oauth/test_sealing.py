"""The key that seals logins: derived for each purpose, replaceable, and kept in a private file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from service.errors import StartupError
from service.oauth.sealing import Sealer
from service.secret_key import SECRET_FILE, secrets_of

OLD, NEW = "an-old-secret-of-32-characters-and-more", "a-new-secret-of-32-characters-and-more"


def test_what_is_sealed_for_one_purpose_opens_for_no_other() -> None:
    sealed = Sealer([OLD]).seal("one", b"content")

    assert Sealer([OLD]).open("one", sealed) == b"content"
    with pytest.raises(ValueError, match="another SECRET_KEY"):
        Sealer([OLD]).open("other", sealed)


def test_a_new_secret_seals_and_the_old_one_still_opens() -> None:
    old, rotating, new = Sealer([OLD]), Sealer([NEW, OLD]), Sealer([NEW])

    assert rotating.open("x", old.seal("x", b"1")) == b"1"
    assert new.open("x", rotating.seal("x", b"2")) == b"2"
    with pytest.raises(ValueError, match="another SECRET_KEY"):
        old.open("x", rotating.seal("x", b"3"))


def test_without_a_setting_the_secret_is_made_once_in_a_private_file(tmp_path: Path) -> None:
    first, second = secrets_of(None, tmp_path), secrets_of(None, tmp_path)

    assert first == second
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


def test_several_secrets_come_from_the_setting_or_from_the_lines_of_the_file(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_text(f"{NEW}\n{OLD}\n")

    assert secrets_of(f"{NEW}, {OLD}", tmp_path) == secrets_of(None, tmp_path) == [NEW, OLD]


def test_a_short_secret_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="at least 32 characters"):
        secrets_of(f"{NEW},short", tmp_path)
    (tmp_path / SECRET_FILE).write_text("short")
    with pytest.raises(StartupError, match="at least 32 characters"):
        secrets_of(None, tmp_path)
