"""The provider that a request or the operator forces: its name, and the arms that it answers for."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from service.domain.arm import Arm
from service.domain.model_hosts import host_of


def arms_of_backend(backend: str, arms: Iterable[Arm]) -> frozenset[str]:
    """The ids of the arms that a provider answers for; empty: none has that provider.

    A provider is named by its host's name (`openai`, `openrouter`), the prefix of the ids of its models, or
    the address of its server. If no arm has that name, it is that of an adapter: `openai` for any server.
    """
    arms = [*arms]
    named = frozenset(arm.arm_id for arm in arms if backend in backends_of(arm))
    return named or frozenset(arm.arm_id for arm in arms if backend == arm.provider)


def backends_of(arm: Arm) -> tuple[str, ...]:
    """The names of the arm's provider, the usual one first."""
    address = urlsplit(arm.base_url or "")
    prefix, has_prefix, _ = arm.arm_id.partition("/")
    names = (host_of(arm), prefix if has_prefix else None, address.netloc, address.hostname)
    return tuple(dict.fromkeys(name for name in names if name)) or (arm.provider,)
