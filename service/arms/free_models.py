"""Leaves out the models that cost something, where the operator wants free ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from service.domain.arm import Arm
from service.errors import StartupError
from service.settings.vendors import OPENROUTER

FreeModels = Literal["auto", "any", "prefer", "only"]


def free_models(arms: Sequence[Arm], wanted: FreeModels, *, are_named: bool) -> list[Arm]:
    """The arms to use.

    Args:
        wanted: auto: of the well-known models the free ones if they come by OpenRouter's key alone, else
            those that cost; any: all; prefer: of the well-known models only the free ones, if any is free;
            only: no other model.
        are_named: whether the operator named the models, by `models:` or LLM_MODELS.

    Raises:
        StartupError: no arm is free, and no other is wanted.
    """
    free = [arm for arm in arms if _is_free(arm)]
    if wanted == "auto" and not are_named:
        paid = [arm for arm in arms if not _is_free(arm)]
        is_by_openrouter = all(arm.api_key_env in OPENROUTER.keys for arm in arms)
        return (free or paid) if is_by_openrouter else (paid or free)
    if wanted in ("auto", "any") or (wanted == "prefer" and (are_named or not free)):
        return list(arms)
    if arms and not free:
        names = ", ".join(arm.arm_id for arm in arms)
        raise StartupError(
            f"FREE_MODELS is only, and none of these models is free: {names}; name free ones in LLM_MODELS, "
            "or set FREE_MODELS to prefer or any"
        )
    return free


def _is_free(arm: Arm) -> bool:
    return arm.provider == "simulator" or (arm.price is not None and arm.price.is_free)
