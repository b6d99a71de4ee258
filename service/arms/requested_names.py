"""What the name of a model in a request stands for: one model, several to choose among, or any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from service.domain.arm import Arm
from service.domain.basics import AUTO
from service.domain.model_names import is_same_model, is_well_known
from service.domain.value import value
from service.errors import UnknownModel
from service.settings.faults import Fault, FaultySettings
from service.settings.places import where_set
from service.settings.settings import DEFAULT_ALIASES, Settings
from service.settings.suggestions import closest

LIKE_A_NAME = 0.6  # likeness of an unknown name and the one that was probably meant


@value
class Meaning:
    """What a name stands for.

    Args:
        arm_ids: the arms to choose among; None: any.
        is_substitute: no arm has the name, and the router chooses in its place.
        tier: the tier that the name stands for.
    """

    arm_ids: frozenset[str] | None = None
    is_substitute: bool = False
    tier: str | None = None


@dataclass(frozen=True, slots=True)
class RequestedNames:
    """The names that requests may use beside the ids and aliases of the arms.

    Args:
        aliases: the router's own aliases, and the arms that each stands for; None: any arm.
        accepts_unknown: whether the router chooses for names of well-known vendors that no arm has.
    """

    aliases: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    accepts_unknown: bool = True

    @classmethod
    def of(cls, settings: Settings, arms: Sequence[Arm], environ: Mapping[str, str]) -> RequestedNames:
        """The names that the settings give to these arms.

        Raises:
            StartupError: an alias is taken, or stands for no model in use; with the file and the line.
        """
        names = {name: arm.arm_id for arm in arms for name in (arm.arm_id, *arm.aliases)}
        aliases, faults = {}, []
        for alias, targets in settings.aliases.items():
            if alias in names and targets == DEFAULT_ALIASES.get(alias):
                continue  # the model has the better claim to its name
            rule = _broken_rule(alias, targets, names)
            if rule is not None:
                faults.append(Fault(f"aliases.{alias} {rule}", where_set(environ, ("aliases", alias))))
            aliases[alias] = None if AUTO & {*targets} else frozenset(names.get(t, t) for t in targets)
        if faults:
            raise FaultySettings(faults)
        return cls(aliases, settings.unknown_models == "auto")

    def meaning(self, name: str, arms: Sequence[Arm], *, param: str = "model") -> Meaning:
        """What a name stands for that is neither an id nor an alias of an arm.

        Args:
            arms: those that answer clients.
            param: the field of the request that holds the name.

        Raises:
            UnknownModel: it stands for nothing; the message gives the names that there are.
        """
        if name in self.aliases:
            return Meaning(self.aliases[name])
        same = [arm for arm in arms if any(is_same_model(name, other) for other in _names_of(arm))]
        if same:
            return Meaning(frozenset(arm.arm_id for arm in same))
        if self.accepts_unknown and param == "model" and is_well_known(name):
            return Meaning(is_substitute=True)
        raise self.unknown(name, arms, param=param)

    def unknown(self, name: str, arms: Sequence[Arm], *, param: str, is_choice: bool = True) -> UnknownModel:
        """The error for a name that stands for nothing.

        Args:
            is_choice: whether `auto` and the router's aliases would stand for something.
        """
        offered = [*(["auto"] if is_choice else []), *(arm.arm_id for arm in arms)]
        aliases = [*(self.aliases if is_choice else []), *(alias for arm in arms for alias in arm.aliases)]
        known = [*offered, *aliases]
        meant = closest(name, known, likeness=LIKE_A_NAME)
        hint = "" if meant is None else f"; did you mean {meant!r}?"
        return UnknownModel(
            f"model {name!r} does not exist; there are: {', '.join(offered)}{hint}", param=param
        )

    def offered(self, arms: Iterable[Arm]) -> list[str]:
        """The names that clients are shown: `auto`, the router's aliases for these arms, and the arms."""
        arm_ids = [arm.arm_id for arm in arms]
        aliases = [alias for alias, ids in self.aliases.items() if ids is None or not ids.isdisjoint(arm_ids)]
        return ["auto", *aliases, *arm_ids]


def _names_of(arm: Arm) -> tuple[str, ...]:
    return (arm.arm_id, arm.model, *arm.aliases)


def _broken_rule(alias: str, targets: Sequence[str], names: Mapping[str, str]) -> str | None:
    """What is wrong with an alias, in words."""
    if alias in AUTO or alias in names:
        return "must not be `auto`" if alias in AUTO else f"is the name of model {names[alias]}"
    if not targets:
        return "must name at least one model"
    if len(targets) > 1 and AUTO & {*targets}:
        return "must be `auto` alone or models, got both"
    unknown = [target for target in targets if target not in names and target not in AUTO]
    if not unknown:
        return None
    in_use = ", ".join(dict.fromkeys(names.values()))
    return f"names {unknown[0]!r}, which is not one of the models in use: {in_use}"
