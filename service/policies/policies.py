"""Policies: the tags of a query, and the arms that rules and tiers leave to choose among."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from service.domain.basics import Vector
from service.domain.narrowing import Narrowing
from service.domain.query import Query
from service.domain.tags import DIFFICULTY, Tag, task_of
from service.policies.classifier import Classifier
from service.policies.rules import Rule
from service.policies.tiers import Tiers


@dataclass(frozen=True, slots=True)
class Policies:
    """Tags queries, and narrows the choice of arms.

    Args:
        classifiers: those whose tag is used, or shown.
        rules: the first that matches counts.
        task_tag: the name of the tag that is the learner's task where the client gives none; None: no tag is.
        tier_by_difficulty: whether the tag `difficulty` names the tier where no rule matches.
    """

    classifiers: tuple[Classifier, ...] = ()
    rules: tuple[Rule, ...] = ()
    tiers: Tiers = field(default_factory=Tiers)
    task_tag: str | None = None
    tier_by_difficulty: bool = False

    @property
    def headers(self) -> frozenset[str]:
        """The headers that rules read, in small letters."""
        return frozenset(header for rule in self.rules for header in rule.conditions.headers)

    async def classify(self, query: Query, context: Vector | None) -> tuple[Tag, ...]:
        """The tags of a query; none for what a client asks for itself beside the conversation.

        Args:
            context: the vector of `query.text`, shape (d,); None: the encoder is unavailable.
        """
        if not self.classifiers or query.turn.side_call is not None or query.narrowing is not None:
            return ()
        found = [await classifier.tag(query, context) for classifier in self.classifiers]
        return tuple(tag for tag in found if tag is not None)

    def needs_task(self, query: Query) -> bool:
        """Whether a tag becomes the task of the query, by which the learner tells it from others."""
        return self.task_tag is not None and query.options.task is None and query.turn.side_call is None

    def with_task(self, query: Query, tags: Sequence[Tag]) -> Query:
        """The query with the tag that is its task, unless the client gave one."""
        if self.task_tag is None or query.options.task is not None:
            return query
        tag = next((tag for tag in tags if tag.name == self.task_tag), None)
        return query if tag is None else replace(query, options=replace(query.options, task=task_of(tag)))

    def narrow(self, query: Query, tags: Sequence[Tag]) -> tuple[Narrowing, ...]:
        """What the policies leave to choose among, first choice first; empty: they leave every arm.

        The next one counts only if no arm of those before can answer. A named model stays.
        """
        if query.requested_model is not None:
            return ()
        values = {tag.name: tag.value for tag in tags}
        for rule in self.rules:
            if rule.conditions.hold(query, values):
                return rule.narrowings()
        tier = values.get(DIFFICULTY) if self.tier_by_difficulty else None
        return () if tier is None else self._from_tier(tier)

    def above(self, query: Query, arm_id: str) -> tuple[Narrowing, ...]:
        """The tiers above an arm's, to which a weak answer may escalate, the next one first.

        A rule that names models keeps to them.
        """
        tier, narrowing = self.tiers.of(arm_id), query.narrowing
        if tier is None or (narrowing is not None and not narrowing.allows_escalation):
            return ()
        rule = None if narrowing is None else narrowing.rule
        return tuple(
            Narrowing(f"tier {above}, to which a weak answer escalates", self.tiers.arms[above], rule)
            for above in self.tiers.above(tier)
        )

    def _from_tier(self, tier: str) -> tuple[Narrowing, ...]:
        """A tier, then those above, then every arm: a guess of the difficulty rejects no request."""
        tiers = [tier, *self.tiers.above(tier)]
        narrowed = [Narrowing(f"tier {name} by difficulty", self.tiers.arms[name]) for name in tiers]
        return (*narrowed, Narrowing("no tier can answer"))
