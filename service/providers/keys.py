"""The key that an arm calls its provider with."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.arm import Arm
from service.errors import ProviderBroken


def api_key(arm: Arm, secrets: Mapping[str, str]) -> str | None:
    """The arm's key; None if the arm needs none.

    Raises:
        ProviderBroken: the variable that the arm names is not set.
    """
    if arm.api_key_env is None:
        return None
    key = secrets.get(arm.api_key_env, "").strip()
    if not key:
        raise ProviderBroken(f"{arm.model} needs a key, and {arm.api_key_env} is not set", status=401)
    return key
