"""The limits of models, by the ids that requests are counted under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.domain.arm import Arm
from service.domain.limit import Limit, Subject
from service.domain.relayed_model import RelayedModel
from service.settings.faults import Fault, FaultySettings
from service.settings.places import where_set
from service.settings.settings import Settings


def limits_of_models(
    settings: Settings, arms: Sequence[Arm], relayed: Sequence[RelayedModel], environ: Mapping[str, str]
) -> Mapping[str, tuple[Limit, ...]]:
    """The limits of the models in use, by id.

    Raises:
        StartupError: a limit is of no model in use; with the file and the line.
    """
    ids = {name: model.model_id for model in relayed for name in model.names}
    ids |= {name: arm.arm_id for arm in arms for name in (arm.arm_id, *arm.aliases)}
    configured, in_use = settings.limits.models, ", ".join(dict.fromkeys(ids.values()))
    faults = [
        Fault(
            f"limits.models.{name} is of no model in use; there are: {in_use}",
            where_set(environ, ("limits", "models", name)),
        )
        for name in configured
        if name not in ids
    ]
    if faults:
        raise FaultySettings(faults)
    return {ids[name]: limits.of(Subject("model", ids[name])) for name, limits in configured.items()}
