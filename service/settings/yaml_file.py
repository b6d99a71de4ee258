"""A YAML file with settings, and the lines where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from service.settings.faults import Fault, Location, got
from service.settings.text_files import UnreadableText, text_of


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The keys and values of a file.

    Args:
        root: the nodes that the values were made of; None: the file is empty or cannot be read.
    """

    path: Path
    values: dict[str, Any]
    root: yaml.Node | None = None
    faults: tuple[Fault, ...] = ()

    def where(self, location: Location) -> str:
        """The file, and the line of a key, or of the nearest key around a missing one."""
        line = None
        node = self.root
        for part in location:
            if node is None or (found := _child(node, part)) is None:
                break
            line, node = found
        return str(self.path) if line is None else f"{self.path}, line {line + 1}"


def read_yaml(path: Path, named_by: str) -> YamlFile:
    """Read a file with settings; what is wrong with it is in its faults.

    Args:
        named_by: the variable or option that names the file.
    """
    try:
        loader = _EachKeyOnce(text_of(path))
        root = loader.get_single_node()
        values = None if root is None else loader.construct_document(root)
    except UnreadableText as error:
        return _unreadable(path, str(error), named_by)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = str(path) if mark is None else f"{path}, line {mark.line + 1}"
        return _unreadable(path, f"not YAML: {error.problem}", where)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return _unreadable(path, f"{path} is not YAML: {' '.join(str(error).split())}", named_by)
    if values is None:
        return YamlFile(path, {})
    if not isinstance(values, dict):
        return _unreadable(path, f"{path} must contain keys and values, got {got(values)}", named_by)
    return YamlFile(path, values, root)


class _EachKeyOnce(yaml.SafeLoader):
    """YAML that rejects a repeated key, whose first value would be lost silently."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Before merges (`<<`), whose keys the node's own may override.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        keys: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in keys:
                mark = key.start_mark
                raise yaml.composer.ComposerError(None, None, f"key `{key.value}` is repeated", mark)
            keys.add(str(key.value))
        return node


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    """The line and the node of a key or of an item; keys that were merged in come first, and lose."""
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if key.value == str(part):
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None


def _unreadable(path: Path, message: str, where: str) -> YamlFile:
    return YamlFile(path, {}, faults=(Fault(message, where),))
