"""The arms that a calibration asks, and those that judge."""

from __future__ import annotations

from collections.abc import Sequence

from service.arms.catalog import Catalog
from service.domain.arm import Arm
from service.errors import BadRequest


def asked_arms(catalog: Catalog, names: Sequence[str]) -> tuple[Arm, ...]:
    """The arms of these names, or all that are not on their way out. Raises UnknownModel."""
    if not names:
        every = (*catalog.arms, *catalog.aside)
        return tuple(arm for arm in every if catalog.state(arm) in ("active", "shadow"))
    return tuple(dict.fromkeys(catalog.known(name, param="models") for name in names))


def require_promises(judge: Arm, data_use: frozenset[str]) -> None:
    """Require that the provider of a judge, who reads prompts and answers, gives these promises.

    Raises:
        BadRequest: it does not.
    """
    if missing := data_use - judge.data_use:
        promises = ", ".join(sorted(missing))
        message = f"grader: the provider of {judge.arm_id} does not promise {promises}"
        raise BadRequest(message, param="grader")
