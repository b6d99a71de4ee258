"""The policies that the settings describe, for the arms in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.domain.arm import Arm
from service.domain.tags import DIFFICULTIES, EXPERT, TAG_VALUES
from service.policies.classifier import Classifier
from service.policies.conditions import Conditions
from service.policies.policies import Policies
from service.policies.rules import Rule
from service.policies.tiers import Tiers
from service.settings.faults import Fault, FaultySettings, Location, path_of
from service.settings.places import where_set
from service.settings.policies import ConditionSettings, PolicySettings, RuleSettings
from service.settings.settings import Settings

_Broken = tuple[Location, str]  # where in the settings, and the rule that is broken


def policies_of(
    settings: Settings,
    arms: Sequence[Arm],
    environ: Mapping[str, str],
    classifiers: Sequence[Classifier] = (),
) -> Policies:
    """The policies of these settings.

    Args:
        classifiers: those there are; only the needed ones are asked.

    Raises:
        StartupError: a rule, a tier or an expert names what does not exist, or can never count; a line for
            each fault, with the file and the line.
    """
    section = settings.policies
    names = {name: arm.arm_id for arm in arms for name in (arm.arm_id, *arm.aliases)}
    if broken := [*_Check(section, names).faults()]:
        raise FaultySettings([_fault(environ, location, rule) for location, rule in broken])
    tiers = Tiers({tier: _ids(models, names) for tier, models in section.tiers.items()})
    return Policies(
        classifiers=tuple(c for c in classifiers if c.name in section.needed_tags),
        rules=(*(_rule(rule, names, tiers) for rule in section.rules), *_rules_of_experts(section, names)),
        tiers=tiers,
        task_tag=section.task,
        tier_by_difficulty=section.tier_by_difficulty,
    )


def _ids(models: Iterable[str], names: Mapping[str, str]) -> frozenset[str]:
    return frozenset(names[model] for model in models)


def _rule(rule: RuleSettings, names: Mapping[str, str], tiers: Tiers) -> Rule:
    arm_ids = None if rule.models is None else _ids(rule.models, names)
    if rule.tier is not None:
        arm_ids = tiers.arms[rule.tier]
    if rule.min_tier is not None:
        arm_ids = tiers.at_least(rule.min_tier)
    return Rule(
        name=rule.name,
        conditions=_conditions(rule.when),
        arm_ids=arm_ids,
        fallback_arm_id=None if rule.fallback_model is None else names[rule.fallback_model],
        follows_tiers=rule.tier is not None or rule.min_tier is not None,
        escalates=rule.escalate,
    )


def _rules_of_experts(section: PolicySettings, names: Mapping[str, str]) -> Iterator[Rule]:
    for name, expert in section.experts.items():
        if expert.models:
            fallback = None if expert.fallback_model is None else names[expert.fallback_model]
            conditions = Conditions(tags={EXPERT: frozenset({name})})
            yield Rule(f"expert:{name}", conditions, _ids(expert.models, names), fallback)


def _conditions(when: ConditionSettings) -> Conditions:
    return Conditions(
        tags={name: frozenset(values) for name, values in when.tags.items()},
        tasks=None if when.task is None else frozenset(when.task),
        headers={name.lower(): value.strip() for name, value in when.header.items()},
        lines_of_code_over=when.lines_of_code_over,
        tokens_over=when.tokens_over,
    )


@dataclass(frozen=True, slots=True)
class _Check:
    """What is wrong with the policies.

    Args:
        names: the ids of the arms in use, by every name of theirs.
    """

    section: PolicySettings
    names: Mapping[str, str]

    def faults(self) -> Iterator[_Broken]:
        yield from self._tiers()
        for i, rule in enumerate(self.section.rules):
            yield from self._rule(("rules", i), rule)
        yield from self._unreachable()
        for name, expert in self.section.experts.items():
            yield from self._models(("experts", name, "models"), expert.models)
            yield from self._models(("experts", name, "fallback_model"), _one(expert.fallback_model))

    def _tiers(self) -> Iterator[_Broken]:
        missing = [d for d in DIFFICULTIES if d not in self.section.tiers]
        if self.section.tier_by_difficulty and missing:
            yield (
                ("tier_by_difficulty",),
                f"needs a tier for each difficulty, and has none for {_list(missing)}",
            )
        tier_of: dict[str, str] = {}
        for tier, models in self.section.tiers.items():
            yield from self._models(("tiers", tier), models)
            for model in models:
                arm_id = self.names.get(model, model)
                if (other := tier_of.setdefault(arm_id, tier)) != tier:
                    yield ("tiers", tier), f"names {model!r}, which is in tier {other} already"

    def _rule(self, place: Location, rule: RuleSettings) -> Iterator[_Broken]:
        if not rule.when.model_fields_set:
            yield (*place, "when"), "must have at least one condition"
        chosen = [key for key in ("models", "tier", "min_tier") if getattr(rule, key) is not None]
        if len(chosen) > 1:
            yield place, f"must have one of models, tier and min_tier, got {' and '.join(chosen)}"
        if not chosen and rule.escalate is None:
            yield place, "must have models, tier, min_tier or escalate"
        if rule.models is not None and not rule.models:
            yield (*place, "models"), "must name at least one model"
        if rule.fallback_model is not None and not chosen:
            yield (*place, "fallback_model"), "needs models, tier or min_tier"
        yield from self._models((*place, "models"), rule.models or ())
        yield from self._models((*place, "fallback_model"), _one(rule.fallback_model))
        for key in ("tier", "min_tier"):
            if (tier := getattr(rule, key)) is not None and tier not in self.section.tiers:
                yield (
                    (*place, key),
                    f"names {tier!r}, which is not one of the tiers: {_list(self.section.tiers)}",
                )
        for name, values in rule.when.tags.items():
            known = (*self.section.experts,) if name == EXPERT else TAG_VALUES[name]
            for value in values:
                if value not in known:
                    yield (*place, "when", name), f"must be one of {_list(known)}, got {value!r}"

    def _models(self, place: Location, models: Iterable[str]) -> Iterator[_Broken]:
        for model in models:
            if model not in self.names:
                in_use = _list(dict.fromkeys(self.names.values()))
                yield place, f"names {model!r}, which is not one of the models in use: {in_use}"

    def _unreachable(self) -> Iterator[_Broken]:
        """Rules that can never count: an earlier one has the same name, or matches all that they match."""
        rules = self.section.rules
        for i, rule in enumerate(rules):
            for earlier in rules[:i]:
                if earlier.name == rule.name:
                    yield ("rules", i, "name"), f"{rule.name!r} is the name of an earlier rule"
                elif _covers(_conditions(earlier.when), _conditions(rule.when)):
                    yield ("rules", i), f"can never count: rule {earlier.name!r} before it matches first"
                    break


def _covers(earlier: Conditions, later: Conditions) -> bool:
    """Whether the earlier conditions hold whenever the later ones do."""
    return (
        all(later.tags.get(name, _EVERY) <= values for name, values in earlier.tags.items())
        and (earlier.tasks is None or (later.tasks is not None and later.tasks <= earlier.tasks))
        and all(_is_said(value, later.headers.get(name)) for name, value in earlier.headers.items())
        and _is_over(earlier.lines_of_code_over, later.lines_of_code_over)
        and _is_over(earlier.tokens_over, later.tokens_over)
    )


_EVERY = frozenset({"*"})  # a tag without a condition has any value


def _is_said(earlier: str, later: str | None) -> bool:
    return later is not None and earlier in ("*", later)


def _is_over(earlier: int | None, later: int | None) -> bool:
    return earlier is None or (later is not None and earlier <= later)


def _one(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _fault(environ: Mapping[str, str], location: Location, rule: str) -> Fault:
    """The fault with the file and the line where it is."""
    place = ("policies", *location)
    return Fault(f"{path_of(place)} {rule}", where_set(environ, place))
