"""Reads the settings, once, from a YAML file and the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.settings.environment import Environment, read_env_file
from service.settings.faults import Fault, FaultySettings, Location, got, is_secret, path_of, rule_of
from service.settings.models import FrozenSettings, ModelSettings, PriceSettings
from service.settings.policies import keys_beside
from service.settings.providers_auth import OAuthSettings
from service.settings.relayed_models import EmbeddingModelSettings, RelayedModelSettings
from service.settings.settings import Settings
from service.settings.suggestions import closest
from service.settings.yaml_file import YamlFile, read_yaml

DEFAULT_CONFIG_FILE = "config.dev.yaml"
ENV_FILE = Path(".env")
# The sections of the YAML file, which no variable can hold, and what their entries are.
ENTRIES: Mapping[str, type[FrozenSettings]] = {
    "models": ModelSettings,
    "embedding_models": EmbeddingModelSettings,
    "moderation_models": RelayedModelSettings,
    "providers_auth": OAuthSettings,
}
LIKE_A_KEY = 0.6  # likeness of an unknown key that is a typo; every unknown key is a fault anyway


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that sets a key of the settings.

    Args:
        form: how the value is made of the variable's; empty: it is the same.
    """

    name: str
    value: str
    form: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, or every reason why there are none."""

    settings: Settings | None
    faults: tuple[Fault, ...] = ()


def read_environment(process: Mapping[str, str], env_file: Path) -> Environment:
    """The environment on top of an optional `.env` file; empty values count as absent."""
    return Environment(process, read_env_file(env_file))


def process_environment() -> Environment:
    """The environment of the process, on top of `.env` in the working folder."""
    return read_environment(os.environ, ENV_FILE)


def config_path(environ: Mapping[str, str]) -> Path | None:
    """CONFIG_FILE, or config.dev.yaml if it exists."""
    named = environ.get("CONFIG_FILE")
    if named:
        return Path(named)
    default = Path(DEFAULT_CONFIG_FILE)
    return default if default.exists() else None


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read a YAML file; environment variables override its values.

    Args:
        path: the YAML file; None: no file.
        environ: environment variables, by their public names.

    Raises:
        StartupError: the file is missing or is not YAML, a key is unknown, or a value breaks its
            rule; the message has a line for every fault, with the file and the line where it is.
    """
    loaded = read_settings(path, environ)
    if loaded.settings is None:
        raise FaultySettings(loaded.faults)
    return loaded.settings


def read_settings(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Like `load_settings`, with the faults as values."""
    environment = environ if isinstance(environ, Environment) else Environment(environ)
    file = None if path is None else read_yaml(path, "CONFIG_FILE")
    faults = [*environment.faults, *(file.faults if file else ())]
    values = dict(file.values) if file else {}
    for secret in ("admin_key", "secret_key"):
        if file and values.pop(secret, None) is not None:
            rule = f"{secret} ({secret.upper()}) must be set in the environment, not in YAML"
            faults.append(Fault(rule, file.where((secret,))))
    variables = _variables(environment)
    values.update({key: variable.value for key, variable in variables.items()})
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        places = _Places(file, environment, variables)
        # Rules between keys may hold of what could not be read.
        details = [detail for detail in _details(error) if detail["loc"] or not faults]
        return Loaded(None, (*faults, *map(places.fault, details)))
    return Loaded(None if faults else settings, tuple(faults))


def overlaid(settings: Settings, path: Path) -> Settings:
    """The settings, with the values that the YAML file of `--config` sets. Raises StartupError."""
    file = read_yaml(path, "--config")
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    try:
        if file.faults:
            raise FaultySettings(file.faults)
        return Settings.model_validate(values | file.values)
    except ValidationError as error:
        places = _Places(file, Environment({}), {})
        raise FaultySettings([places.fault(detail) for detail in _details(error)]) from error


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the values of the settings come from."""

    file: YamlFile | None
    environment: Environment
    variables: Mapping[str, Variable]

    def fault(self, detail: ErrorDetails) -> Fault:
        """The fault of a value, or of values that do not go together."""
        location = detail["loc"] or tuple(str(detail["ctx"]["error"]).split(":")[:1])
        rule = rule_of(detail)
        if not detail["loc"]:
            return Fault(rule, self._where(location))
        variable = self.variables.get(str(location[0]))
        if detail["type"] in ("extra_forbidden", "invalid_key"):
            return Fault(f"unknown key `{path_of(location)}`{_meant(location)}", self._where(location))
        name = path_of(location) if variable is None else f"{variable.name}{variable.form}"
        is_shown = not is_secret(location) and detail["type"] != "missing"
        shown = f", got {got(detail['input'])}" if is_shown else ""
        return Fault(f"{name} {rule}{shown}", self._where(location))

    def _where(self, location: Location) -> str:
        if (variable := self.variables.get(str(location[0]))) is not None:
            return self.environment.where(variable.name)
        return "" if self.file is None else self.file.where(location)


def _meant(location: Location) -> str:
    """The known key that an unknown one resembles."""
    siblings: type[FrozenSettings] = Settings
    if (entry := ENTRIES.get(str(location[0]))) is not None:
        siblings = PriceSettings if "price" in location[:-1] else entry
    if location[0] == "policies":
        siblings = keys_beside(location)
    meant = closest(str(location[-1]), siblings.model_fields, likeness=LIKE_A_KEY)
    return "" if meant is None else f"; did you mean `{meant}`?"


def _details(error: ValidationError) -> Iterator[ErrorDetails]:
    yield from error.errors(include_url=False)


def _variables(environment: Environment) -> dict[str, Variable]:
    """The keys that variables set, by their own names or by those that other programs use."""
    scalars = Settings.model_fields.keys() - ENTRIES.keys() - {"aliases", "fallbacks", "limits", "policies"}
    variables = {n: Variable(n.upper(), environment[n.upper()]) for n in scalars if n.upper() in environment}
    if "DATABASE_HOST" in environment:
        variables.setdefault("database_url", Variable("DATABASE_HOST", _database_url(environment)))
    if (model := environment.get("LLM_MODEL")) is not None:
        others = environment.get("LLM_MODELS", "")
        variables["llm_models"] = Variable("LLM_MODEL", f"{model},{others}")
        variables.setdefault("default_model", Variable("LLM_MODEL", model))
    if (retries := environment.get("LLM_RETRIES")) is not None:
        calls = str(int(retries) + 1) if retries.isdecimal() else retries
        variables.setdefault("max_attempts", Variable("LLM_RETRIES", calls, " + 1"))
    return variables


def _database_url(environ: Mapping[str, str]) -> str:
    user = quote(environ.get("DATABASE_USER", "postgres"), safe="")
    password = quote(environ.get("DATABASE_PASSWORD", ""), safe="")
    login = f"{user}:{password}" if password else user
    port = environ.get("DATABASE_PORT", "5432")
    return f"postgresql://{login}@{environ['DATABASE_HOST']}:{port}/{environ.get('DATABASE_NAME', 'router')}"
