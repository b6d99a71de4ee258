"""The table of well-known models that ships with the router."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

import yaml

from service.domain.basics import Json


def known_models(key: Literal["models", "embedding_models", "moderation_models"] = "models") -> list[Json]:
    """Well-known models of `known_models.yaml`, in the shape of that key of the configuration."""
    text = files("service.arms").joinpath("known_models.yaml").read_text(encoding="utf-8")
    models: list[Json] = yaml.safe_load(text)[key]
    return models
