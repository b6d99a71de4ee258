"""Arms with several deployments, from the settings of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.domain.arm import Arm, Deployment
from service.settings.models import DeploymentSettings, ModelSettings


def deployed(arm: Arm, deployments: Sequence[DeploymentSettings]) -> Arm:
    """The arm with these deployments, and with the first one's endpoint as its own; of one, only that."""
    if not deployments:
        return arm
    found = tuple(
        Deployment(
            name=str(settings.name),
            provider=settings.provider or arm.provider,
            model=settings.model or arm.model,
            base_url=settings.base_url,
            api_key_env=settings.api_key_env,
            weight=settings.weight,
            timeout_s=settings.timeout_s,
        )
        for settings in deployments
    )
    return replace(arm.at(found[0]), deployment=None, deployments=found)


def with_keys(model: ModelSettings, environ: Mapping[str, str]) -> tuple[ModelSettings | None, list[str]]:
    """The model with the deployments whose keys are set, and what was left out, in words; None: all of it."""
    if not model.deployments:
        if model.api_key_env and not environ.get(model.api_key_env):
            return None, [f"{model.id}: {model.api_key_env} is not set"]
        return model, []
    usable = tuple(d for d in model.deployments if not d.api_key_env or environ.get(d.api_key_env))
    left_out = [
        f"{model.id} at {d.name}: {d.api_key_env} is not set" for d in model.deployments if d not in usable
    ]
    return (model.model_copy(update={"deployments": usable}) if usable else None), left_out
