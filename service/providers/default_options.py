"""Values for options that a request leaves out: LLM_TEMPERATURE and LLM_MAX_TOKENS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.query import Native
from service.errors import ProviderRejected

TEMPERATURE = "temperature"
MAX_TOKENS = "max_tokens"
# What the option is called, and what excludes it: the same option by another name, or one that models
# accept only without it.
_NAMES: Mapping[str, tuple[str, ...]] = {
    TEMPERATURE: ("temperature", "top_p", "reasoning_effort", "reasoning", "thinking"),
    MAX_TOKENS: ("max_tokens", "max_completion_tokens"),
}


@dataclass(frozen=True, slots=True)
class DefaultOptions:
    """Fills in the options that a request leaves out; an arm that refuses one gets it no more.

    Args:
        temperature: None: left to the model.
        max_tokens: None: left to the model; an arm's own limit, where it is known, is not exceeded.
    """

    temperature: float | None = None
    max_tokens: int | None = None
    _refused: set[tuple[str, str, str | None, str]] = field(default_factory=set, compare=False, repr=False)

    def filled(self, arm: Arm, body: Json) -> Json:
        """The body with the options that it lacks; the same object if it lacks none."""
        values = {
            name: value
            for name, value in self._values(arm).items()
            if (*_upstream(arm), name) not in self._refused
            and not any(body.get(other) is not None for other in _NAMES[name])
        }
        return {**body, **values} if values else body

    def filled_native(self, arm: Arm, native: Native | None) -> Native | None:
        """The same for a request in the arm's own dialect."""
        if native is None or (body := self.filled(arm, native.body)) is native.body:
            return native
        return replace(native, body=body)

    def refuse(self, arm: Arm, asked: Json, sent: Json, rejection: ProviderRejected) -> bool:
        """Whether the arm refused an option that was filled in: it is not filled in for the arm any more.

        Args:
            asked: the body before it was filled in.
            sent: and after.
        """
        said = f"{rejection.param}: {rejection}".lower()
        refused = [
            name for name in sent.keys() - asked.keys() if any(other in said for other in _NAMES[name][:2])
        ]
        self._refused.update((*_upstream(arm), name) for name in refused)
        return bool(refused)

    def _values(self, arm: Arm) -> Json:
        """The defaults for the arm: its own before those of all."""
        values: Json = {}
        temperature = self.temperature if arm.default_temperature is None else arm.default_temperature
        if temperature is not None:
            values[TEMPERATURE] = temperature
        if (max_tokens := arm.default_max_tokens or self.max_tokens) is not None:
            values[MAX_TOKENS] = min(max_tokens, arm.max_output_tokens or max_tokens)
        return values


def _upstream(arm: Arm) -> tuple[str, str, str | None]:
    return arm.provider, arm.model, arm.base_url
