"""Names that were probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def closest(name: str, known: Iterable[str], *, likeness: float) -> str | None:
    """The known name that is spelled most alike; case and word separators do not count.

    Args:
        likeness: least ratio of equal characters, 0 to 1.
    """
    by_letters = {_letters(other): other for other in known}
    found = get_close_matches(_letters(name), by_letters, n=1, cutoff=likeness)
    return by_letters[found[0]] if found else None


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()
