"""Finds the functions that `callbacks` names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.callbacks.report import RequestReport
from service.errors import StartupError
from service.settings.faults import Fault, FaultySettings
from service.settings.places import where_set


@dataclass(frozen=True, slots=True)
class NamedFunction:
    """A function, or one that returns an awaitable, by the name `module:function`."""

    name: str
    call: Callable[[RequestReport], object]


def functions_named(names: Sequence[str], environ: Mapping[str, str]) -> list[NamedFunction]:
    """The functions of these names; modules of the working folder are found as well.

    Raises:
        StartupError: one cannot be imported; there is a line for each, with the place of the setting.
    """
    found, faults = [], []
    for name in names:
        try:
            found.append(_function(name))
        except StartupError as error:
            faults.append(Fault(f"callbacks: {name!r} {error}", where_set(environ, ("callbacks",))))
    if faults:
        raise FaultySettings(faults)
    return found


def _function(name: str) -> NamedFunction:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise StartupError("must be module:function")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        function: object = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except Exception as error:  # whatever the module does when it is imported
        raise StartupError(f"cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise StartupError("is not a function")
    return NamedFunction(name, function)
