"""The settings of what is stored, where, and for how long."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from service.settings.base_urls import http_url
from service.settings.database_urls import with_tls
from service.settings.models import FrozenSettings


class StorageSettings(FrozenSettings):
    """PostgreSQL, Qdrant and the spool."""

    data_dir: Path = Field(
        Path("data"), description="folder of the embedded PostgreSQL, the memory, the encoder and the spool"
    )
    enable_persistence: bool = Field(
        True, description="false: keep all data in a temporary folder that is deleted when the process ends"
    )
    database_require_tls: bool = Field(False, description="connect to the PostgreSQL server with TLS only")
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL server, version 15 or newer; absent: an embedded one in DATA_DIR"
    )
    database_max_connections: int = Field(
        10, ge=1, le=1_000, description="PostgreSQL connections per process"
    )
    database_connect_timeout_s: float = Field(
        3.0, gt=0, le=300, description="longest wait for a new PostgreSQL connection, seconds"
    )
    database_statement_timeout_s: float = Field(
        2.0, gt=0, le=300, description="longest statement of a request in PostgreSQL, seconds"
    )
    database_busy_timeout_s: float = Field(
        5.0, gt=0, le=300, description="longest wait while others use all PostgreSQL connections, seconds"
    )
    database_bulk_timeout_s: float = Field(
        60.0, gt=0, le=86_400, description="longest statement of a command such as `rebuild`, seconds"
    )
    database_statement_cache_size: int = Field(
        100,
        ge=0,
        le=10_000,
        description="prepared statements per connection; use 0 behind a pgbouncer that pools transactions",
    )
    qdrant_url: str | None = Field(None, description="Qdrant server; absent: an embedded engine in DATA_DIR")
    qdrant_api_key: SecretStr | None = Field(None, description="key of the Qdrant server")
    qdrant_collection_prefix: str = Field(
        "router",
        pattern=r"^[A-Za-z0-9-]{1,63}$",
        description="beginning of the names of this deployment's collections on the Qdrant server",
    )
    memory_points_per_arm: int = Field(
        2_000, ge=1, le=10_000_000, description="newest remembered decisions to keep per model and tenant"
    )
    spool_max_bytes: int = Field(
        256_000_000,
        ge=0,
        description="largest spool of decisions on disk while PostgreSQL is unavailable, bytes",
    )
    spool_reserve_bytes: int = Field(
        16_000_000, ge=0, description="disk space that each process keeps for its spool, bytes"
    )
    store_texts: bool = Field(False, description="store the text of requests and answers in PostgreSQL")
    response_ttl_s: float = Field(
        2_592_000.0,
        gt=0,
        le=315_360_000,
        description="with STORE_TEXTS: how long request bodies and responses to continue are kept, seconds",
    )
    retention_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="age from which on requests without feedback are deleted, and those with feedback lose "
        "their texts, days",
    )

    @field_validator("database_url")
    @classmethod
    def _is_a_dsn(cls, dsn: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if dsn is None:
            return None
        scheme, found, rest = dsn.get_secret_value().partition("://")
        if not found or scheme.partition("+")[0] not in ("postgresql", "postgres"):
            raise ValueError("must look like postgresql://user:password@host:5432/name")
        url = f"postgresql://{rest}"  # SQLAlchemy adds its driver: postgresql+asyncpg
        return SecretStr(with_tls(url) if info.data.get("database_require_tls") else url)

    @field_validator("qdrant_url")
    @classmethod
    def _is_a_server(cls, url: str | None) -> str | None:
        return None if url is None else http_url(url).geturl().removesuffix("/dashboard")
