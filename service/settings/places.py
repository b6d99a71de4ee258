"""Where a setting was set, for faults that show only once the models are known."""

from __future__ import annotations

from collections.abc import Mapping

from service.settings.environment import Environment
from service.settings.faults import Location
from service.settings.load import config_path
from service.settings.yaml_file import read_yaml


def where_set(environ: Mapping[str, str], location: Location) -> str:
    """The file and the line of a setting, or `environment`; empty if nothing sets it.

    Args:
        location: the keys to it, such as `("aliases", "fast")`.
    """
    environment = environ if isinstance(environ, Environment) else Environment(environ)
    if (variable := str(location[0]).upper()) in environment:
        return environment.where(variable)
    path = config_path(environment)
    return "" if path is None else read_yaml(path, "CONFIG_FILE").where(location)
