"""The models that a caller may ask."""

from __future__ import annotations

from service.domain.caller import Caller
from service.domain.relayed_model import RelayedModel
from service.errors import UnknownModel
from service.parts import Parts


def offered_names(parts: Parts, caller: Caller) -> list[str]:
    """The names of models for answers: `auto`, aliases and ids."""
    arms = [arm for arm in parts.catalog.arms if caller.may_ask((arm.arm_id, *arm.aliases))]
    return parts.catalog.names.offered(arms)


def offered_embeddings(parts: Parts, caller: Caller) -> list[RelayedModel]:
    return [model for model in parts.embeddings.models if caller.may_ask(model.names)]


def require_model(caller: Caller, model: RelayedModel) -> None:
    """Raises UnknownModel: the caller's key is for other models."""
    if not caller.may_ask(model.names):
        raise _not_for(caller, model.model_id)


def require_offered(parts: Parts, caller: Caller, name: str) -> None:
    """Raises UnknownModel: the name stands only for models that the caller's key is not for."""
    meant = parts.catalog.meaning(name).arm_ids
    if meant is not None and not any(caller.may_ask((arm_id, *_aliases(parts, arm_id))) for arm_id in meant):
        raise _not_for(caller, name)


def _aliases(parts: Parts, arm_id: str) -> tuple[str, ...]:
    arm = parts.catalog.in_use(arm_id)
    return () if arm is None else arm.aliases


def _not_for(caller: Caller, name: str) -> UnknownModel:
    return UnknownModel(
        f"model {name!r} is not among the models of the key {caller.key_name!r}", param="model"
    )
