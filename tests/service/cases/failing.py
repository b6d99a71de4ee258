"""Cases that fail today, each with its reason. A case that passes must leave its list."""

from __future__ import annotations

FAILING: dict[str, str] = {
    "s14-keepalives-hold": "comments of the provider do not count as life",
    "s17-whole-after-65s": "whole answers have 60 s by default",
}

# Cases whose answer the vendor's own library cannot read.
UNREADABLE: dict[str, str] = {
    "s14-keepalives-hold": "comments of the provider do not count as life",
    "s17-whole-after-65s": "whole answers have 60 s by default",
}
