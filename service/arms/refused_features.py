"""What each arm turned out to be unable to do: features of requests that its provider refused.

An arm is not asked for such a feature again before the time is over, unless no other arm is left. The memory
lives in the process and is bounded; the arm's first answer to such a request clears it.

A refusal of what the arm has lately done may be about the one request, whose client chose its content: it
counts from the second in a row on.
"""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from service.arms.breaker import Upstream, upstream_of
from service.arms.features import features_of, outer_features_of
from service.arms.named_features import refused_features
from service.domain.arm import Arm
from service.domain.ports import Clock
from service.domain.query import Query
from service.domain.quoted_input import without_texts_of
from service.errors import ProviderRejected

log = structlog.get_logger(__name__)

MAX_OF_ONE_ARM = 64
_MAX_WORDS_CHARS = 300
_QUOTATION = re.compile(r"\"[^\"]*\"|“[^”]*”|(?<!\w)'[^']*'(?!\w)")
_IDENTIFIER = re.compile(r"[\"'“][\w.\[\]:/-]{0,60}[\"'”]")


@dataclass(frozen=True, slots=True)
class RefusedFeature:
    """One feature, or a combination of features, that an arm refuses.

    Args:
        parts: the features; a request is concerned if it has all of them.
        words: what the provider said, without what it quoted of the request.
    """

    parts: frozenset[str]
    since: datetime
    until: datetime
    words: str

    @property
    def name(self) -> str:
        return " with ".join(sorted(self.parts))

    @property
    def reason(self) -> str:
        """Why the arm may not answer a request with this feature."""
        return f"refuses {self.name} (not asked until {self.until:%H:%M:%S} UTC): {self.words}"


@dataclass(slots=True)
class _Arm:
    """What is known of one upstream.

    Args:
        refused: oldest refusal first.
        done: when it last answered a request with each feature.
    """

    refused: OrderedDict[frozenset[str], RefusedFeature] = field(default_factory=OrderedDict)
    done: dict[str, datetime] = field(default_factory=dict)

    def has_done(self, parts: frozenset[str], since: datetime) -> bool:
        """Whether it lately did the feature; of a combination nobody knows."""
        return len(parts) == 1 and all(self.done.get(part, since) > since for part in parts)


class RefusedFeatures:
    """The refused features of all arms, in this process.

    Args:
        remember_s: how long a feature stays refused, seconds; 0: nothing is remembered.
    """

    def __init__(self, clock: Clock, *, remember_s: float = 3600.0) -> None:
        self._clock = clock
        self._remember_s = remember_s
        self._arms: defaultdict[Upstream, _Arm] = defaultdict(_Arm)
        self._has_refused = False  # whether any arm ever has: it is asked for every request

    @classmethod
    def forgetting(cls) -> RefusedFeatures:
        """A memory that remembers nothing."""
        return cls(lambda: datetime.max.replace(tzinfo=UTC), remember_s=0)

    def learn(self, arm: Arm, query: Query, refusal: ProviderRejected) -> frozenset[str]:
        """Remember what the refusal names; returns it, empty if it names no feature of the request."""
        parts = refused_features(features_of(query), refusal)
        if not parts or self._remember_s == 0:
            return parts
        now, known = self._clock(), self._of(arm)
        self._has_refused, of_arm = True, known.refused
        if parts not in of_arm and known.has_done(parts, since=now - timedelta(seconds=self._remember_s)):
            known.done = {done: at for done, at in known.done.items() if done not in parts}
            return parts
        before = of_arm.pop(parts, None)
        since = now if before is None or before.until <= now else before.since
        until = now + timedelta(seconds=self._remember_s)
        of_arm[parts] = refused = RefusedFeature(parts, since, until, _words(refusal, query))
        log.info("feature_refused", model=arm.arm_id, feature=refused.name)
        while len(of_arm) > MAX_OF_ONE_ARM:
            of_arm.popitem(last=False)
        return parts

    def accepted(self, arm: Arm, query: Query) -> None:
        """Note what the arm has just answered, which it does not refuse any more."""
        known, now = self._of(arm), self._clock()
        for feature in outer_features_of(query):
            known.done[feature] = now
        if len(known.done) > MAX_OF_ONE_ARM:
            known.done = dict(sorted(known.done.items(), key=lambda done: done[1])[-MAX_OF_ONE_ARM:])
        if known.refused:
            features = features_of(query)
            for parts in [parts for parts in known.refused if parts <= features]:
                del known.refused[parts]

    def of(self, arm: Arm) -> tuple[RefusedFeature, ...]:
        """What the arm refuses now, oldest refusal first."""
        now, of_arm = self._clock(), self._of(arm).refused
        for parts in [parts for parts, refused in of_arm.items() if refused.until <= now]:
            del of_arm[parts]
        return tuple(of_arm.values())

    def against(self, arms: Sequence[Arm], query: Query) -> dict[str, RefusedFeature]:
        """What the request asks of each arm that the arm refuses, by arm id."""
        if not self._has_refused:
            return {}
        refused = {arm.arm_id: of_arm for arm in arms if (of_arm := self.of(arm))}
        features = features_of(query) if refused else frozenset()
        return {
            arm_id: found
            for arm_id, of_arm in refused.items()
            if (found := next((one for one in of_arm if one.parts <= features), None)) is not None
        }

    def _of(self, arm: Arm) -> _Arm:
        """What is known of its model, wherever it is deployed."""
        return self._arms[(arm.arm_id, None, "", None) if arm.deployments else upstream_of(arm)]


def _words(refusal: ProviderRejected, query: Query) -> str:
    received = query.body if query.native is None else query.native.body
    said = _QUOTATION.sub(
        lambda quoted: quoted[0] if _IDENTIFIER.fullmatch(quoted[0]) else '"…"', str(refusal)
    )
    said = without_texts_of([query.body, received], said)
    return said if len(said) <= _MAX_WORDS_CHARS else said[: _MAX_WORDS_CHARS - 1] + "…"
