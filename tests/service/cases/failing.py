"""Cases that fail today, each with its reason. A case that passes must leave its list."""

from __future__ import annotations

FAILING: dict[str, str] = {}

# Cases whose answer the vendor's own library cannot read.
UNREADABLE: dict[str, str] = {}
