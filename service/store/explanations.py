"""The explanation in a row of `decisions`, whichever version wrote it."""

from __future__ import annotations

from asyncpg import Record

from service.domain.basics import Json
from service.domain.logged_explanation import unpacked
from service.domain.packed_explanation import HAS_CANDIDATES_AT

# The columns that `explanation_of` reads, of a decision `d`; the second has no neighbours.
EXPLAINED = "d.explanation, d.weighed, d.recalled"
WEIGHED = """
    CASE WHEN d.weighed IS NULL THEN d.explanation - '{neighbours,recalled,neighbour_ease}'::text[]
        ELSE d.explanation END AS explanation, d.weighed, NULL::bytea AS recalled"""
HAS_CANDIDATES = f"""
    CASE WHEN d.weighed IS NULL THEN d.explanation -> 'candidates' <> '[]'
        ELSE substr(d.weighed, {HAS_CANDIDATES_AT + 1}, 2) <> '\\x0000' END"""


def explanation_of(row: Record) -> Json:
    """The explanation of a row with EXPLAINED or WEIGHED, in the words of this version."""
    return unpacked(row["explanation"], row["weighed"], row["recalled"])
