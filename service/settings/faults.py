"""What is wrong with the settings: every fault with its place, in the words of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pydantic_core import ErrorDetails

from service.errors import StartupError

Location = tuple[str | int, ...]

_NUMBER = "must be a number"
_WHOLE_NUMBER = "must be a whole number"
_SWITCH = "must be true or false"
# The validator's names of broken rules, in plain words. The fields in braces are the bounds of the setting.
_RULES: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is required",
        "int_type": _WHOLE_NUMBER,
        "int_parsing": _WHOLE_NUMBER,
        "int_parsing_size": _WHOLE_NUMBER,
        "int_from_float": _WHOLE_NUMBER,
        "float_type": _NUMBER,
        "float_parsing": _NUMBER,
        "decimal_type": _NUMBER,
        "decimal_parsing": _NUMBER,
        "decimal_max_places": "must have at most {decimal_places} decimals",
        "finite_number": _NUMBER,
        "bool_type": _SWITCH,
        "bool_parsing": _SWITCH,
        "string_type": "must be text",
        "too_short": "must have at least {min_length} characters",
        "string_too_short": "must have at least {min_length} characters",
        "string_too_long": "must have at most {max_length} characters",
        "string_pattern_mismatch": "must be 1 to 128 visible ASCII characters without spaces",
        "path_type": "must be a path",
        "tuple_type": "must be a list",
        "dict_type": "must be keys and values",
        "model_type": "must be keys and values",
        "model_attributes_type": "must be keys and values",
        "literal_error": "must be {expected}",
        "greater_than": "must be above {gt}",
        "greater_than_equal": "must be at least {ge}",
        "less_than": "must be below {lt}",
        "less_than_equal": "must be at most {le}",
    }
)
_LONGEST_VALUE = 80


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, or looks wrong.

    Args:
        where: file and line, or `environment`; empty if the message says it.
    """

    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class FaultySettings(StartupError):
    """The settings prevent the start; the message is one line, or a line for each of several faults."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        lines = [*map(str, faults)] if len(faults) == 1 else [_title(faults), *map(str, faults)]
        super().__init__("\n  ".join(lines))
        self.faults = tuple(faults)


def faults_of(error: StartupError) -> tuple[Fault, ...]:
    """The faults behind an error that stops the start."""
    return error.faults if isinstance(error, FaultySettings) else (Fault(str(error)),)


def _title(faults: Sequence[Fault]) -> str:
    return f"{len(faults)} errors in the settings:"


def path_of(location: Location) -> str:
    """A place in the settings as it is written: `models[2].price.input`."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".")


def rule_of(error: ErrorDetails) -> str:
    """The rule that a value breaks."""
    context = error.get("ctx", {})
    if error["type"] == "value_error":
        return str(context["error"])
    if error["type"] == "literal_error":
        context = {"expected": str(context["expected"]).replace("'", "")}
    plain = {name: int(n) if isinstance(n, float) and n.is_integer() else n for name, n in context.items()}
    return _RULES.get(error["type"], "is not valid").format(**plain)


def got(value: object) -> str:
    """A value as the configuration would have it, not longer than a line."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "keys and values"
    if isinstance(value, list | tuple):
        return "a list"
    shown = repr(value) if isinstance(value, str) else str(value)
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}..."


def is_secret(location: Location) -> bool:
    """Whether the value there may hold a password or a key, so that it is not shown."""
    name = str(location[-1]) if location else ""
    return "url" in name or "key" in name or "dsn" in name
