"""Keys that belong to a call, in place of those in the environment: a caller's own, or a provider's token."""

from __future__ import annotations

from dataclasses import dataclass, field

CLIENT = "client"  # `api_key: client`


@dataclass(frozen=True, slots=True)
class Credential:
    """The key of one call. It is never stored, logged or compared.

    Args:
        is_bearer: whether a provider with a header of its own for keys gets it as `Authorization: Bearer`.
    """

    value: str = field(repr=False)
    is_bearer: bool
