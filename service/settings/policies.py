"""The settings of tags, rules and tiers: the section `policies:` of the YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from service.domain.tags import DIFFICULTY, EXPERT, INTENT
from service.settings.faults import Location
from service.settings.models import FrozenSettings, Name

TAG_PREFIX = "tag."  # `tag.intent: error` is the long form of `intent: error`
TagName = Literal["intent", "difficulty", "expert"]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")]


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


# One value, or several of which one must be the request's.
Values = Annotated[tuple[Name, ...], BeforeValidator(_listed)]


class ConditionSettings(FrozenSettings):
    """The conditions of a rule, all of which must hold."""

    intent: Values | None = Field(None, description="the tag `intent` has this value, or one of these")
    difficulty: Values | None = Field(
        None, description="the tag `difficulty` has this value, or one of these"
    )
    expert: Values | None = Field(None, description="the tag `expert` has this value, or one of these")
    task: Values | None = Field(None, description="the client's own task is this one, or one of these")
    header: dict[HeaderName, str] = Field(
        {}, description="the request has these headers with these values; `*`: any value"
    )
    lines_of_code_over: int | None = Field(
        None, ge=0, le=1_000_000, description="the prompt has more lines of code than this"
    )
    tokens_over: int | None = Field(
        None, ge=0, le=100_000_000, description="the prompt has more tokens than this, about"
    )

    @model_validator(mode="before")
    @classmethod
    def _tags_have_a_long_form(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        short = {str(key).removeprefix(TAG_PREFIX): condition for key, condition in value.items()}
        if len(short) < len(value):
            raise ValueError("must name each tag once")
        return short

    @property
    def tags(self) -> Mapping[str, tuple[str, ...]]:
        """The values of tags that match, by the name of the tag."""
        named = {INTENT: self.intent, DIFFICULTY: self.difficulty, EXPERT: self.expert}
        return {name: values for name, values in named.items() if values is not None}


class RuleSettings(FrozenSettings):
    """One rule: when it matches, and what it leaves to choose among."""

    name: Name = Field(description="name of the rule in decisions and errors")
    when: ConditionSettings = Field(description="conditions, all of which must hold; see below")
    models: tuple[Name, ...] | None = Field(None, description="choose only among these models")
    tier: Name | None = Field(None, description="choose only among the models of this tier")
    min_tier: Name | None = Field(None, description="choose only among the models of this tier and above")
    escalate: bool | None = Field(
        None, description="whether a weak answer escalates; absent: as `ESCALATION` says"
    )
    fallback_model: Name | None = Field(
        None, description="model that answers if the rule leaves no model; absent: the request is rejected"
    )


class ExpertSettings(FrozenSettings):
    """What an expert is for, and the models that answer as one."""

    description: str = Field(
        min_length=3, max_length=4_000, description="what the expert is for, in natural language"
    )
    examples: tuple[Annotated[str, StringConstraints(min_length=1, max_length=4_000)], ...] = Field(
        (), max_length=100, description="requests that are for the expert; they make it easier to match"
    )
    models: tuple[Name, ...] = Field(
        (), description="models to choose among for this expert; absent: all models"
    )
    fallback_model: Name | None = Field(
        None, description="model that answers if none of `models` can; absent: the request is rejected"
    )


class PolicySettings(FrozenSettings):
    """The section `policies:`."""

    tags: tuple[TagName, ...] = Field(
        (), description="tags to find for every request, beyond those that something here uses"
    )
    task: TagName | None = Field(
        None, description="tag that is the task of requests whose client gives none; absent: no tag is"
    )
    tiers: dict[Name, Annotated[tuple[Name, ...], Field(min_length=1)]] = Field(
        {}, description="groups of models, by the name of the tier, the weakest tier first"
    )
    tier_by_difficulty: bool = Field(
        False, description="whether the tag `difficulty` names the tier of requests that no rule matches"
    )
    min_token_probability: float | None = Field(
        None,
        ge=0,
        le=1,
        description="an answer whose tokens have a lower mean probability is weak; absent: none",
    )
    rules: tuple[RuleSettings, ...] = Field((), description="rules; the first that matches counts")
    experts: dict[Name, ExpertSettings] = Field(
        {}, description="experts by their names; each is a rule after all others"
    )

    @property
    def needed_tags(self) -> frozenset[str]:
        """The names of the tags that something here uses, or shows."""
        used = {name for rule in self.rules for name in rule.when.tags}
        used |= {*self.tags, *([self.task] if self.task else [])}
        used |= {DIFFICULTY} if self.tier_by_difficulty else set()
        return frozenset(used | ({EXPERT} if self.experts else set()))


def keys_beside(location: Location) -> type[FrozenSettings]:
    """The settings among which the last key of a place in this section stands."""
    if "when" in location[:-1]:
        return ConditionSettings
    if "rules" in location[:-1]:
        return RuleSettings
    return ExpertSettings if "experts" in location[:-1] else PolicySettings
