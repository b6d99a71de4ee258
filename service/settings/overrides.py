"""The settings that replace the names of models in requests; headers of a request come before them."""

from __future__ import annotations

from pydantic import Field, field_validator

from service.domain.overrides import Overrides, read_model_map
from service.settings.models import FrozenSettings, Name


class OverrideSettings(FrozenSettings):
    """What replaces the names of models that requests give."""

    force_model: Name | None = Field(
        None, description="model of every request, whatever it names; `auto`: the router chooses"
    )
    force_backend: Name | None = Field(None, description="provider that answers every request")
    force_expert_routing: bool = Field(
        False, description="whether the rules of the experts choose even if a request names a model"
    )
    model_map: dict[Name, Name] = Field(
        {},
        description="comma-separated NAME=MODEL: what a name, or a pattern with `*`, in requests stands for",
    )

    @field_validator("model_map", mode="before")
    @classmethod
    def _split_entries(cls, value: object) -> object:
        return dict(read_model_map(value)) if isinstance(value, str) else value

    @property
    def overrides(self) -> Overrides:
        return Overrides(
            self.force_backend, self.force_model, tuple(self.model_map.items()), self.force_expert_routing
        )
