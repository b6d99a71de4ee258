"""Replaces the name of a model in a request: by its headers, else by the operator's settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from service.arms.backends import arms_of_backend, backends_of
from service.dialects.overrides import BACKEND, FORCE_EXPERT_ROUTING, FORCE_MODEL, MODEL_MAP
from service.domain.arm import Arm
from service.domain.basics import AUTO
from service.domain.overrides import Overrides
from service.domain.query import Query
from service.domain.value import value
from service.errors import BadRequest
from service.settings.faults import Fault, FaultySettings, Location, path_of
from service.settings.places import where_set
from service.settings.settings import Settings


@value
class Wanted:
    """The name that counts for a request.

    Args:
        name: None: the router chooses.
        param: the field or the header that has the name.
        by: the settings that replaced the request's own name, or the headers that mean the same.
    """

    name: str | None
    param: str = "model"
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Overriding:
    """Replaces the names of models in requests.

    Args:
        operators: what the settings override.
        tiers: the ids of the arms of each tier, which a name may stand for.
        has_experts: whether there are rules of experts to choose by.
    """

    operators: Overrides = field(default_factory=Overrides)
    tiers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    has_experts: bool = False

    @classmethod
    def of(cls, settings: Settings, arms: Sequence[Arm], environ: Mapping[str, str]) -> Overriding:
        """The overrides of these settings.

        Raises:
            StartupError: an override names what does not exist; with the file and the line.
        """
        names = {name: arm.arm_id for arm in arms for name in (arm.arm_id, *arm.aliases)}
        faults = [
            Fault(f"{_shown(place)} {rule}", where_set(environ, place))
            for place, rule in _broken(settings, arms, names)
        ]
        if faults:
            raise FaultySettings(faults)
        sections = settings.policies
        tiers = {t: frozenset(names.get(m, m) for m in models) for t, models in sections.tiers.items()}
        return cls(settings.overrides, tiers, any(expert.models for expert in sections.experts.values()))

    def mapped(self, name: str) -> str:
        """What the operator's map puts in place of a name."""
        return self.operators.mapped(name) or name

    def wanted(self, query: Query) -> Wanted:
        """The name that counts for a request. Raises BadRequest."""
        own, requested = query.overrides, query.requested_model
        overrides = own.before(self.operators)
        if own.expert_routing and not self.has_experts:
            raise BadRequest(
                f"{FORCE_EXPERT_ROUTING}: no expert with models is configured", param=FORCE_EXPERT_ROUTING
            )
        if overrides.expert_routing and requested is not None:
            return Wanted(None, by=("force_expert_routing",))
        if overrides.model is not None:
            param = "model" if own.model is None else FORCE_MODEL
            return Wanted(None if overrides.model in AUTO else overrides.model, param, ("force_model",))
        meant = None if requested is None else overrides.mapped(requested)
        if meant is None:
            return Wanted(requested)
        param = MODEL_MAP if requested is not None and own.mapped(requested) is not None else "model"
        return Wanted(None if meant in AUTO else meant, param, ("model_map",))

    def backend_arms(self, query: Query, arms: Sequence[Arm]) -> tuple[str, frozenset[str]] | None:
        """The forced provider and the arms that it answers for; None: none is forced.

        Raises:
            BadRequest: no arm has that provider.
        """
        if (backend := query.overrides.before(self.operators).forced_backend) is None:
            return None
        if not (arm_ids := arms_of_backend(backend, arms)):
            offered = _list(name for arm in arms for name in backends_of(arm)[:1])
            raise BadRequest(f"{BACKEND}: must be one of {offered}, got {backend!r}", param=BACKEND)
        return backend, arm_ids


def _broken(
    settings: Settings, arms: Sequence[Arm], names: Mapping[str, str]
) -> Iterator[tuple[Location, str]]:
    """What is wrong with the overrides, each with its place and the rule that is broken."""
    known = {*AUTO, *names, *settings.aliases, *settings.policies.tiers}
    rule = f"which is not one of {_list(['auto', *names.values(), *settings.policies.tiers])}"
    if settings.force_model is not None and settings.force_model not in known:
        yield ("force_model",), f"names {settings.force_model!r}, {rule}"
    for name, meant in settings.model_map.items():
        if meant not in known:
            yield ("model_map", name), f"names {meant!r}, {rule}"
    backend = settings.overrides.forced_backend
    if backend is not None and not arms_of_backend(backend, arms):
        offered = _list(name for arm in arms for name in backends_of(arm)[:1])
        yield ("force_backend",), f"must be one of {offered}, got {backend!r}"
    if settings.force_expert_routing and not any(e.models for e in settings.policies.experts.values()):
        yield ("force_expert_routing",), "needs policies.experts with models"


def _shown(place: Location) -> str:
    return path_of(place) if len(place) > 1 else str(place[0]).upper()


def _list(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
