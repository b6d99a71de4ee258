"""The operator's order of the models that are called when one fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from service.domain.arm import Arm
from service.settings.faults import Fault, FaultySettings
from service.settings.places import where_set
from service.settings.settings import Settings

DEFAULT = "default"  # the key of the list for models without one


@dataclass(frozen=True, slots=True)
class FallbackOrder:
    """The arms to call after another one failed.

    Args:
        by_arm: by the id of the arm that failed.
        default: after any other arm.
    """

    by_arm: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings, arms: Sequence[Arm], environ: Mapping[str, str]) -> FallbackOrder:
        """The order that the settings give to these arms.

        Raises:
            StartupError: a name is none of a model in use; with the file and the line.
        """
        ids = {name: arm.arm_id for arm in arms for name in (arm.arm_id, *arm.aliases)}
        faults = [
            Fault(f"fallbacks.{key} {rule}", where_set(environ, ("fallbacks", key)))
            for key, names in settings.fallbacks.items()
            for rule in _broken_rules(key, names, ids)
        ]
        if faults:
            raise FaultySettings(faults)
        lists = {key: tuple(ids[name] for name in names) for key, names in settings.fallbacks.items()}
        default = lists.pop(DEFAULT, ())
        return cls({ids[key]: order for key, order in lists.items()}, default)

    def after(self, arm_id: str) -> tuple[str, ...]:
        """The ids of the arms to call after this one, the first one first; empty: there is no order."""
        order = self.by_arm.get(arm_id, self.default)
        return tuple(other for other in order if other != arm_id) if order else ()


def _broken_rules(key: str, names: Sequence[str], ids: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with a list, in words."""
    in_use = ", ".join(dict.fromkeys(ids.values()))
    if key == DEFAULT and key in ids:
        yield "is the list for all models without one, but a model has this name"
    if key != DEFAULT and key not in ids:
        yield f"is the list of a model that is not in use; there are: {in_use}"
    for name in names:
        if name not in ids:
            yield f"names {name!r}, which is not one of the models in use: {in_use}"
