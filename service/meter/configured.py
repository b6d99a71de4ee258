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
        StartupError: a limit is of no model in use, or a model has limits under two of its names; with the
            file and the line.
    """
    ids = {name: model.model_id for model in relayed for name in model.names}
    ids |= {name: arm.arm_id for arm in arms for name in (arm.arm_id, *arm.aliases)}
    in_use = ", ".join(dict.fromkeys(ids.values()))
    limits: dict[str, tuple[Limit, ...]] = {}
    faults = []
    for name, configured in settings.limits.models.items():
        model_id = ids.get(name)
        if model_id is not None and model_id not in limits:
            limits[model_id] = configured.of(Subject("model", model_id))
            continue
        problem = f"of no model in use; there are: {in_use}"
        if model_id is not None:
            problem = f"another name of {model_id}, which has limits here already: put them together"
        place = where_set(environ, ("limits", "models", name))
        faults.append(Fault(f"limits.models.{name} is {problem}", place))
    if faults:
        raise FaultySettings(faults)
    return limits
