"""Files and folders for their owner alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.log_file import LogFile, SharedLogFile
from service.private_files import private_file, private_folder, tighten


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o777


def test_new_files_and_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "spool")
    private_file(folder / "lines").close()

    assert (mode(folder), mode(folder / "lines")) == (0o700, 0o600)


def test_an_open_file_is_tightened_when_it_is_used_again(tmp_path: Path) -> None:
    tmp_path.joinpath("lines").touch(0o666)

    private_file(tmp_path / "lines").close()

    assert mode(tmp_path / "lines") == 0o600


def test_a_log_file_of_an_earlier_version_is_tightened(tmp_path: Path) -> None:
    tmp_path.joinpath("router.log").touch(0o644)

    SharedLogFile(LogFile(str(tmp_path / "router.log"), max_bytes=1_000, n_older=1)).close()

    assert mode(tmp_path / "router.log") == 0o600


def test_a_whole_folder_is_tightened_but_not_what_its_links_lead_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch(0o644)
    data = tmp_path / "data"
    (data / "memory").mkdir(0o755, parents=True)
    (data / "memory" / "points").touch(0o666)
    (data / "program").touch(0o755)
    (data / "link").symlink_to(outside)

    tighten(data)

    others_may_pass = 0o011 if os.geteuid() == 0 else 0
    assert mode(data / "memory") == 0o700 | others_may_pass
    assert mode(data / "memory" / "points") == 0o600
    assert mode(data / "program") == 0o700
    assert mode(outside) == 0o644
