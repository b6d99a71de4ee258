"""Chooses one of the deployments of an arm: the least busy one, by weights, and the conversation's own."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from service.arms.breaker import Breaker, Upstream, upstream_of
from service.domain.arm import Arm, Deployment
from service.domain.query import Turn

MOST_BUSIER = 1  # calls that a conversation's own deployment may have under way beyond the least busy one


@dataclass(slots=True)
class LoadBalancer:
    """The calls under way at every deployment, in this process.

    Every chosen arm must be given back by `ended`, once. An arm without deployments passes through.

    Args:
        max_conversations: whose deployments are remembered, the most recently used ones.
        n_called: calls for clients' requests that are under way, at whatever arm, streams included until
            their end.
    """

    breaker: Breaker
    max_conversations: int = 10_000
    n_called: int = 0
    _pending: Counter[Upstream] = field(default_factory=Counter)
    _turns: defaultdict[Upstream, float] = field(default_factory=lambda: defaultdict(float))
    _own: OrderedDict[tuple[str, bytes], str] = field(default_factory=OrderedDict)

    def begun(self, arm: Arm, turn: Turn, tried: Collection[str | None] = ()) -> Arm:
        """The arm at the deployment to call now.

        One that cools down is chosen only if all do: the first to be available.

        Args:
            turn: of the conversation; its own deployment has its prompt cache.
            tried: names of deployments that failed for this request; they are chosen only if all did.
        """
        if not arm.deployments:
            return arm
        deployment = self._chosen(arm, turn, tried)
        self._pending[upstream_of(deployment)] += 1
        if (key := _conversation(turn)) is not None:
            self._remember((arm.arm_id, key), deployment.name)
        return arm.at(deployment)

    def ended(self, arm: Arm) -> None:
        """Record that the call of this arm, as `begun` returned it, is over."""
        if arm.deployment is None:
            return
        upstream = upstream_of(arm)
        self._pending[upstream] -= 1
        if self._pending[upstream] <= 0:
            del self._pending[upstream]

    def n_pending(self, endpoint: Arm | Deployment) -> int:
        """The calls under way at this endpoint, streams included until their end."""
        return self._pending[upstream_of(endpoint)]

    def has_another(self, arm: Arm, tried: Collection[str | None]) -> bool:
        """Whether a deployment that was not tried may be called now."""
        return bool(arm.deployments and self._ready(arm, tried))

    def _ready(self, arm: Arm, tried: Collection[str | None]) -> list[Deployment]:
        return [d for d in arm.deployments if d.name not in tried and not self.breaker.is_open(d)]

    def _chosen(self, arm: Arm, turn: Turn, tried: Collection[str | None]) -> Deployment:
        ready = self._ready(arm, tried) or self._ready(arm, ())
        if not ready:
            return min(arm.deployments, key=self.breaker.reopens_in_s)
        key = _conversation(turn)
        if key is not None and (turn.key is not None or turn.answered):
            own = next((d for d in ready if d.name == self._own.get((arm.arm_id, key))), None)
            if own is not None and self.n_pending(own) <= min(map(self.n_pending, ready)) + MOST_BUSIER:
                return own
        load = [self.n_pending(d) / d.weight for d in ready]
        return self._in_turn([d for d, n in zip(ready, load, strict=True) if n == min(load)])

    def _in_turn(self, equals: Sequence[Deployment]) -> Deployment:
        """The next of equally busy deployments: each as often as its weight says, evenly spread.

        Each gains its weight; the one with the most is chosen, and pays what all have gained.
        """
        for deployment in equals:
            self._turns[upstream_of(deployment)] += deployment.weight
        chosen = max(equals, key=lambda deployment: self._turns[upstream_of(deployment)])
        self._turns[upstream_of(chosen)] -= sum(deployment.weight for deployment in equals)
        return chosen

    def _remember(self, key: tuple[str, bytes], name: str) -> None:
        self._own[key] = name
        self._own.move_to_end(key)
        if len(self._own) > self.max_conversations:
            self._own.popitem(last=False)


def _conversation(turn: Turn) -> bytes | None:
    """What all requests of a conversation have in common: its session id, or how it opened."""
    if turn.key is not None or turn.place is None:
        return turn.key
    return turn.place.opening
