"""The settings of the model that matches requests to experts."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from service.settings.base_urls import base_url
from service.settings.models import FrozenSettings


class RoutingModelSettings(FrozenSettings):
    """The model that is asked which expert a request is for."""

    routing_model: str | None = Field(
        None, min_length=1, description="model that names the expert of a request; absent: the embedding does"
    )
    routing_model_base_url: str = Field(
        "http://127.0.0.1:11434/v1", description="base URL of its OpenAI-compatible server"
    )
    routing_model_api_key: SecretStr | None = Field(None, description="key of its server")
    routing_model_timeout_s: float = Field(
        1.0, gt=0, le=60, description="longest wait for it, seconds; then the embedding names the expert"
    )

    @field_validator("routing_model_base_url")
    @classmethod
    def _routing_url_in_one_form(cls, url: str) -> str:
        return base_url(url, "openai")
