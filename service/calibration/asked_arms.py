"""The arms that a calibration asks, and those that judge."""

from __future__ import annotations

from collections.abc import Sequence

from service.arms.catalog import Catalog
from service.domain.arm import Arm
from service.errors import BadRequest


def asked_arms(catalog: Catalog, names: Sequence[str]) -> tuple[Arm, ...]:
    """The arms of these names, or all that are not on their way out and need no caller's key.

    Raises:
        UnknownModel: none has that name.
        BadRequest: the arm of that name is called with keys of callers.
    """
    if not names:
        every = (*catalog.arms, *catalog.aside)
        in_use = (arm for arm in every if catalog.state(arm) in ("active", "shadow"))
        return tuple(arm for arm in in_use if not arm.takes_client_key)
    arms = tuple(dict.fromkeys(catalog.known(name, param="models") for name in names))
    for arm in arms:
        require_own_key(arm, "models")
    return arms


def require_own_key(arm: Arm, param: str) -> None:
    """Require that the arm can be called without a caller. Raises BadRequest."""
    if arm.takes_client_key:
        message = f"{param}: {arm.arm_id} is called with keys of callers only, which no calibration has"
        raise BadRequest(message, param=param)


def require_promises(judge: Arm, data_use: frozenset[str]) -> None:
    """Require that the provider of a judge, who reads prompts and answers, gives these promises.

    Raises:
        BadRequest: it does not.
    """
    if missing := data_use - judge.data_use:
        promises = ", ".join(sorted(missing))
        message = f"grader: the provider of {judge.arm_id} does not promise {promises}"
        raise BadRequest(message, param="grader")
