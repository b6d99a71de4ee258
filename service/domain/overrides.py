"""What replaces the name of a model that a request gives."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from service.domain.basics import AUTO


@dataclass(frozen=True, slots=True)
class Overrides:
    """What replaces the name of a model that a request gives; None: nothing says so.

    Args:
        backend: the provider that answers; `auto`: any.
        model: the name in place of the request's.
        model_map: names, or patterns with `*`, and what each stands for.
        expert_routing: whether the experts' rules choose even if the request names a model.
    """

    backend: str | None = None
    model: str | None = None
    model_map: tuple[tuple[str, str], ...] = ()
    expert_routing: bool | None = None

    def before(self, later: Overrides) -> Overrides:
        """These overrides, and where they say nothing, the later ones."""
        if self is NO_OVERRIDES:
            return later
        return Overrides(
            backend=self.backend if self.backend is not None else later.backend,
            model=self.model if self.model is not None else later.model,
            model_map=(*self.model_map, *later.model_map),
            expert_routing=later.expert_routing if self.expert_routing is None else self.expert_routing,
        )

    @property
    def forced_backend(self) -> str | None:
        """The provider that answers; None: any."""
        return None if self.backend in AUTO else self.backend

    def mapped(self, name: str) -> str | None:
        """What a name stands for: by its own entry, else by the first pattern; None: itself."""
        own = [meant for key, meant in self.model_map if key == name]
        by_pattern = (meant for key, meant in self.model_map if "*" in key and fnmatchcase(name, key))
        return own[0] if own else next(by_pattern, None)


NO_OVERRIDES = Overrides()


def read_model_map(text: str) -> tuple[tuple[str, str], ...]:
    """The entries of `gpt-4=large,claude-3-*=auto`. Raises ValueError."""
    entries = [entry.partition("=") for entry in text.split(",") if entry.strip()]
    pairs = tuple((name.strip(), meant.strip()) for name, _, meant in entries)
    if not all(name and meant for name, meant in pairs):
        raise ValueError("must be NAME=MODEL, separated by commas")
    return pairs
