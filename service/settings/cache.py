"""The settings of the answer cache."""

from __future__ import annotations

from pydantic import Field, model_validator

from service.settings.models import FrozenSettings


class CacheSettings(FrozenSettings):
    """Whether, where and for how long answers are kept, and which requests get them."""

    cache_enabled: bool = Field(False, description="answer identical requests from a cache")
    cache_ttl_seconds: float = Field(
        3600.0, gt=0, description="how long a cached answer can be used, seconds"
    )
    cache_max_size: int = Field(1_000, ge=1, le=1_000_000, description="most cached answers per process")
    cache_shared: bool = Field(
        False, description="share cached answers between replicas in PostgreSQL, which stores their texts"
    )
    semantic_cache_enabled: bool = Field(
        False, description="answer the same question in other words from the cache too"
    )
    semantic_cache_threshold: float = Field(
        0.9, ge=0.8, le=1, description="least cosine similarity of two questions that share an answer"
    )
    semantic_cache_max_temperature: float = Field(
        0.7, ge=0, le=2, description="highest temperature of a request whose answer other words may get"
    )

    @model_validator(mode="after")
    def _parts_need_the_cache(self) -> CacheSettings:
        for name in ("cache_shared", "semantic_cache_enabled"):
            if getattr(self, name) and not self.cache_enabled:
                raise ValueError(f"{name} needs cache_enabled")
        return self
