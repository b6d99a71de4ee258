"""The fields of Google's messages, which it accepts in camelCase and in snake_case."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

from service.domain.basics import Json

T = TypeVar("T")


class Message(BaseModel):
    """Checks its fields, by either name, and keeps all others.

    Numbers may be strings and the reverse is an error, as in any JSON form of Protocol Buffers.
    """

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, validate_by_name=True)

    def unknown(self) -> Iterator[str]:
        """The names of fields that have a value and that the router does not know."""
        return (name for name, value in (self.model_extra or {}).items() if value not in (None, [], {}))


def _listed(value: object) -> object:
    return [value] if isinstance(value, dict) else value


Many = Annotated[T, BeforeValidator(_listed)]  # Google accepts one message in place of a list of one


def has_value(value: Any) -> bool:
    """Whether a field asks for something: the default of its type asks for nothing."""
    return value not in (None, False, 0, "", [], {})


def cased(name: str, holder: Json) -> Any:
    """The value of a field in either case; `name` is in snake_case."""
    return holder.get(to_camel(name), holder.get(name))
