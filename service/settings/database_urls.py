"""Whether the address of a PostgreSQL server asks for an encrypted connection."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

ENCRYPTED = ("require", "verify-ca", "verify-full")


def with_tls(dsn: str) -> str:
    """The address with `sslmode=require`, unless it has a mode that is as strict.

    Raises:
        ValueError: its mode allows a connection without TLS.
    """
    modes = parse_qs(urlsplit(dsn).query).get("sslmode", [])
    if not modes:
        return f"{dsn}{'&' if urlsplit(dsn).query else '?'}sslmode=require"
    if modes[-1] not in ENCRYPTED:
        raise ValueError(
            f"must have sslmode {', '.join(ENCRYPTED)} or none, because DATABASE_REQUIRE_TLS is true, "
            f"got sslmode={modes[-1]}"
        )
    return dsn
