"""What was asked of a provider, as far as its answer is read by it."""

from __future__ import annotations

from collections.abc import Callable

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.value import value
from service.errors import ProviderError


@value
class Asked:
    """A request to an arm's provider.

    Args:
        refusal: builds the error for an answer with status 200 that is no answer of a model.
    """

    arm: Arm
    body: Json
    refusal: Callable[[object], ProviderError]

    @property
    def tools(self) -> frozenset[str]:
        """The names of the request's tools."""
        functions = (tool.get(tool.get("type") or "function") for tool in self.body.get("tools") or [])
        return frozenset(str(f["name"]) for f in functions if isinstance(f, dict) and f.get("name"))

    @property
    def n_choices(self) -> int:
        return self.body.get("n") or 1
