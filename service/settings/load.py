"""Reads the settings, once, from a YAML file and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values
from pydantic import ValidationError

from service.errors import StartupError
from service.settings.settings import Settings

DEFAULT_CONFIG_FILE = "config.dev.yaml"


def read_environment(environ: Mapping[str, str], env_file: Path) -> dict[str, str]:
    """The environment on top of an optional `.env` file; empty values count as absent."""
    merged = {**dotenv_values(env_file), **environ}
    return {name: value for name, value in merged.items() if value}


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read a YAML file; environment variables override its values.

    Args:
        path: the YAML file; None: no file.
        environ: environment variables, by their public names.

    Raises:
        StartupError: the file is missing or is not YAML, a key is unknown, or a value breaks its
            rule; the message is one line and names the key.
    """
    values = {} if path is None else _read_yaml(path, "CONFIG_FILE")
    if "admin_key" in values:
        raise StartupError("configuration: admin_key (ADMIN_KEY) must be set in the environment, not in YAML")
    values.update(_from_environment(environ))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise StartupError(_one_line(error)) from error


def overlaid(settings: Settings, path: Path) -> Settings:
    """The settings, with the values that the YAML file of `--config` sets. Raises StartupError."""
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    try:
        return Settings.model_validate(values | _read_yaml(path, "--config"))
    except ValidationError as error:
        raise StartupError(_one_line(error)) from error


def config_path(environ: Mapping[str, str]) -> Path | None:
    """CONFIG_FILE, or config.dev.yaml if it exists."""
    named = environ.get("CONFIG_FILE")
    if named:
        return Path(named)
    default = Path(DEFAULT_CONFIG_FILE)
    return default if default.exists() else None


class _EachKeyOnce(yaml.SafeLoader):
    """YAML that rejects a repeated key, whose first value would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if repeated := sorted({str(key) for key in keys if keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(
                None, None, f"key `{repeated[0]}` is repeated", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path, named_by: str) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text("utf-8"), _EachKeyOnce)  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise StartupError(f"{named_by}: cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StartupError(f"{named_by}: {path} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise StartupError(f"{named_by}: {path} must contain keys and values, got {type(content).__name__}")
    return content


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    scalars = Settings.model_fields.keys() - {"models"}
    values: dict[str, Any] = {n: environ[n.upper()] for n in scalars if environ.get(n.upper())}
    if "database_url" not in values and environ.get("DATABASE_HOST"):
        values["database_url"] = _database_url(environ)
    return values


def _database_url(environ: Mapping[str, str]) -> str:
    from urllib.parse import quote

    user = quote(environ.get("DATABASE_USER", "postgres"), safe="")
    password = quote(environ.get("DATABASE_PASSWORD", ""), safe="")
    login = f"{user}:{password}" if password else user
    port = environ.get("DATABASE_PORT", "5432")
    return f"postgresql://{login}@{environ['DATABASE_HOST']}:{port}/{environ.get('DATABASE_NAME', 'router')}"


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"configuration: unknown key `{path}`"
    if not path:
        return f"configuration: {message}"
    got = "" if "url" in path or "key" in path else f", got {first['input']!r}"
    return f"configuration: {path} ({path.upper()}): {message}{got}"


def process_environment() -> dict[str, str]:
    """The environment of the process, on top of `.env` in the working folder."""
    return read_environment(os.environ, Path(".env"))
