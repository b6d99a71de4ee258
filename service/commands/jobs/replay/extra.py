"""The optional packages that replaying needs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from service.errors import StartupError

PACKAGES = ("matplotlib", "openai", "pyarrow")


def require_extra(find: Callable[[str], object | None] = find_spec) -> None:
    """Stop in one line where the extra is not installed, before anything has begun.

    Raises:
        StartupError: names the missing packages and the extra that brings them.
    """
    missing = [package for package in PACKAGES if find(package) is None]
    if missing:
        raise StartupError(f"replaying needs {', '.join(missing)}: pip install 'llm-router[replay]'")
