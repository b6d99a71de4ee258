"""Everything that a router writes is for its owner alone, whatever the umask is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import NewRouter
from tests.e2e.running import PLAIN


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_paths(data_dir: Path) -> list[tuple[str, str]]:
    """What others than the owner can read, write or list, with its mode; links are not followed."""
    paths = [data_dir, *data_dir.rglob("*")]
    return [
        (str(path.relative_to(data_dir)), oct(path.lstat().st_mode))
        for path in paths
        if not path.is_symlink() and path.lstat().st_mode & 0o066
    ]


def test_nobody_else_can_read_a_data_directory(new_router: NewRouter) -> None:
    router = new_router(store_texts="true")
    data_dir = router.data_dir
    (data_dir / "spool").mkdir(0o777)
    (data_dir / "spool" / "rejected").touch(0o666)

    router.start()
    question = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    httpx.post(f"{router.url}/v1/chat/completions", json=question, headers={"X-Request-ID": "r1"}, **PLAIN)
    httpx.post(f"{router.url}/feedback", json={"request_id": "r1", "score": 0.9}, **PLAIN)

    assert open_paths(data_dir) == []
    assert (data_dir / "postgres").exists()
    assert any((data_dir / "memory").rglob("*.mmap"))
