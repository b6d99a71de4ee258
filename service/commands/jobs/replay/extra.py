"""The optional packages that replaying needs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from service.errors import StartupError

PACKAGES = ("matplotlib", "openai", "pyarrow")


def require_extra(find: Callable[[str], object | None] = find_spec) -> None:
    """Check that they are installed.

    Raises:
        StartupError: packages are missing; the message names them.
    """
    missing = [package for package in PACKAGES if find(package) is None]
    if missing:
        raise StartupError(f"replaying needs {', '.join(missing)}: pip install {' '.join(missing)}")
