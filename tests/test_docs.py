"""Documentation that fails the build when it is incomplete."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel

from service.api.errors import PROBLEMS
from service.api.respond import headers
from service.app import EXPOSED_HEADERS, create_app
from service.completion.completion import Head
from service.dialects.options import OPTION_HEADERS, RouterOptions
from service.dialects.overrides import OVERRIDE_HEADERS
from service.dialects.session_names import PART_HEADERS, SESSION_HEADERS
from service.settings.budgets import AllLimitSettings
from service.settings.models import ModelSettings
from service.settings.policies import ConditionSettings, ExpertSettings, PolicySettings, RuleSettings
from service.settings.relayed_models import EmbeddingModelSettings
from service.settings.settings import Settings
from service.telemetry import Metrics
from tests.built_site import problems
from tests.cli_reference import reference
from tests.clients import matrix
from tests.clients.registry import CLIENTS, Client
from tests.clients.results import stored
from tests.compatibility import located, proofs, rendered
from tests.doc_commands import SERVE, SERVERS, mismatch, steps, text_mismatch

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
SOURCES = sorted((ROOT / "service").rglob("*.py"))
YAML_ONLY = {
    "ALIASES",
    "FALLBACKS",
    "LIMITS",
    "PROVIDERS_AUTH",
    "POLICIES",
    "MODELS",
    "EMBEDDING_MODELS",
    "MODERATION_MODELS",
}
HOSTS_OF_REGISTRIES = r"(pypi|pythonhosted|npmjs|npmmirror|docker|ghcr|quay)\.(org|com|io)"
MACHINE_PATHS = r"(?<![\w.])/(work|root|home|opt/pypi|opt/wheels)/"
INDEX_OPTIONS = r"--(extra-)?index-url|--find-links|--registry"
PRIVATE = re.compile("|".join([HOSTS_OF_REGISTRIES, MACHINE_PATHS, INDEX_OPTIONS]))


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def shown(default: object) -> str:
    """A default as one writes it in the environment."""
    if default is None or default in ((), {}, PolicySettings(), AllLimitSettings()):
        return ""
    if isinstance(default, dict):
        return ", ".join(f"{name}: {meant}" for name, (meant,) in default.items())
    return str(default).lower() if isinstance(default, bool) else str(default)


@pytest.fixture
def defaults() -> dict[str, str]:
    return {name.upper(): shown(field.default) for name, field in Settings.model_fields.items()}


def test_the_configuration_page_has_every_knob_with_its_default(defaults: dict[str, str]) -> None:
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| (?:`([^`]*)`|none) \| [^|]*\| \S.*\|$", page("docs/configuration.md"), re.M
    )

    assert dict(rows) == defaults
    assert len(rows) == len(defaults)


@pytest.mark.parametrize(
    ("section", "entry"),
    [("A model", ModelSettings), ("An embedding model", EmbeddingModelSettings)],
)
def test_the_configuration_page_has_every_key_of_a_model(section: str, entry: type[BaseModel]) -> None:
    text = page("docs/configuration.md").split(f"\n### {section}\n")[1].split("\n### ")[0]

    assert re.findall(r"^\| `([a-z_]+)` \|", text, re.M) == list(entry.model_fields)


@pytest.mark.parametrize(
    ("section", "entry"),
    [
        ("The section", PolicySettings),
        ("Rules", RuleSettings),
        ("Experts", ExpertSettings),
    ],
)
def test_the_page_of_policies_has_every_key(section: str, entry: type[BaseModel]) -> None:
    text = page("docs/policies.md").split(f"\n## {section}\n")[1].split("\n## ")[0]

    assert re.findall(r"^\| `([a-z_]+)` \|", text, re.M)[: len(entry.model_fields)] == list(
        entry.model_fields
    )


def test_the_page_of_policies_has_every_condition() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", page("docs/policies.md").split("| condition |")[1], re.M)
    documented = [key for row in rows for key in re.findall(r"`([a-z_]+)`", row)]

    assert documented[: len(ConditionSettings.model_fields)] == list(ConditionSettings.model_fields)


def test_the_example_environment_has_every_knob_with_its_default(defaults: dict[str, str]) -> None:
    lines = dict(re.findall(r"^#([A-Z_]+)=(.*)$", page(".env.example"), re.M))

    assert {name: lines.get(name) for name in defaults if name not in YAML_ONLY} == {
        name: default for name, default in defaults.items() if name not in YAML_ONLY
    }


def test_the_example_environment_describes_every_knob_as_the_settings_do() -> None:
    comments = {name: text for text, name in re.findall(r"^# (.*)\n#([A-Z_]+)=", page(".env.example"), re.M)}
    knobs = {name.upper(): field.description for name, field in Settings.model_fields.items()}

    assert {name: comments.get(name) for name in knobs if name not in YAML_ONLY} == {
        name: description for name, description in knobs.items() if name not in YAML_ONLY
    }


def test_the_api_page_has_every_route() -> None:
    documented = {
        (path, method)
        for paths, methods in re.findall(r"^\| (.*?) \| ([A-Z, ]+) \|", page("docs/api.md"), re.M)
        for path in re.findall(r"`(/[^`]*)`", paths)
        for method in methods.split(", ")
    }

    served = {
        (str(route.path).replace(":path}", "}"), method)
        for route in iter_route_contexts(create_app(Settings.model_validate({}), {}).routes)
        for method in (route.methods or set()) - {"HEAD"}
    }

    assert documented == served - {("/docs/oauth2-redirect", "GET")}


def test_the_api_page_has_every_header() -> None:
    head = Head(
        "id",
        uuid4(),
        "arm",
        "exploit",
        simulated=True,
        degraded=("memory",),
        explanation=None,
        vendor_mark="",
        side_call="title",
        substituted_model="gpt-9",
        latency_s=0.1,
    )
    said = headers(head)

    documented = set(re.findall(r"`(X-[A-Za-z-]+|Retry-After(?:-Ms)?)`", page("docs/api.md")))

    assert documented == {
        *EXPOSED_HEADERS,
        *said,
        *OPTION_HEADERS.values(),
        *OVERRIDE_HEADERS,
        *(name for name in (*SESSION_HEADERS, *PART_HEADERS) if name.startswith("X-")),
        "Retry-After-Ms",
    }


def test_the_api_page_has_every_option() -> None:
    options = page("docs/api.md").split("### Options of the router")[1].split("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \|", options, re.M) == list(RouterOptions.model_fields)


def test_the_api_page_has_every_error_with_its_status_and_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\S.*?) \|", page("docs/api.md"), re.M)

    assert {name: (int(status), code.strip("`")) for name, status, code in rows} == {
        error.__name__: (status, "the provider's" if error.__name__ == "ProviderRejected" else code or "null")
        for error, (status, _, code) in PROBLEMS.items()
    }


def test_the_page_of_clients_shows_the_last_results() -> None:
    assert page("docs/clients.md") == matrix.rendered()


@pytest.mark.parametrize(
    "client",
    [client for client in CLIENTS.values() if client.every_run or client.name in stored()],
    ids=lambda client: client.name,
)
def test_each_client_passed_all_that_it_is_said_to_pass(client: Client) -> None:
    assert set(stored()[client.name]["passed"]) == set(client.features)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_tests_that_are_named_exist(path: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)", path.read_text("utf-8")):
        assert f"def {name}(" in page(file)


def test_every_line_of_the_compatibility_page_is_proven_by_tests() -> None:
    sections = page("docs/compatibility.md").split("\n## ")[1:]
    lines = {
        section.partition("\n")[0]: re.findall(
            r"^\| (.+?) \| (?:yes|partly|not offered) \| .*\|$", section, re.M
        )
        for section in sections
    }

    assert lines == {section: list(tests) for section, tests in proofs().items()}
    assert sum(map(len, lines.values())) == sum(
        len(re.findall(r"^\| (?!what \|)", section, re.M)) for section in sections
    )
    assert all(names for tests in proofs().values() for names in tests.values())


def test_the_page_of_compatibility_tests_is_up_to_date() -> None:
    assert page("docs/compatibility-tests.md") == rendered(), "run `python -m tests.compatibility`"


@pytest.mark.parametrize("name", ["test_nothing", "test_other.py::test_one", "test_two"])
def test_a_line_cannot_be_proven_by_a_test_that_is_missing_or_ambiguous(name: str) -> None:
    files = {"tests/test_a.py": "def test_one(\ndef test_two(", "tests/test_b.py": "async def test_two("}

    with pytest.raises(ValueError, match="must be one test"):
        located(name, files)


def test_the_api_page_has_what_the_compatibility_page_does_not_offer() -> None:
    table = page("docs/api.md").split("\n## Not offered\n")[1].split("\n## ")[0]

    listed = re.findall(r"^\| (.+?) \| .+ \|$", table, re.M)

    assert listed[1:] == re.findall(r"^\| (.+?) \| not offered \|", page("docs/compatibility.md"), re.M)


def test_the_metrics_page_has_every_metric() -> None:
    rows = re.findall(r"^\| `(router_\w+)` \|", page("docs/metrics.md"), re.M)

    assert rows == [m.name + ("_total" if m.type == "counter" else "") for m in Metrics().registry.collect()]


def test_the_metrics_page_has_every_log_event() -> None:
    events = page("docs/metrics.md").split("\n## Log events\n")[1]

    rows = re.findall(r"^\| `(\w+)` \| [a-z, ]+ \|", events, re.M)

    assert sorted(rows) == sorted({event for path in SOURCES for event in log_events(path)})


def log_events(path: Path) -> Iterator[str]:
    """The names that the calls of `log` in a file begin with."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("log")), args=[ast.Constant(str(event)), *_]):
                yield event
            case ast.Call(
                func=ast.Attribute(value=ast.Name("log")),
                args=[ast.IfExp(body=ast.Constant(str(event)), orelse=ast.Constant(str(other))), *_],
            ):
                yield from (event, other)


def test_the_commands_page_is_what_the_code_says() -> None:
    assert page("docs/cli.md") == reference()


def test_the_readme_begins_with_one_command_and_every_command_on_it_is_run() -> None:
    found = steps(page("README.md"))

    assert found[0].code == SERVE
    assert len(found) == len(re.findall(r"^```(?!json)\w+$", page("README.md"), re.M))


def test_an_answer_unlike_the_one_shown_is_noticed() -> None:
    shown = {"model": "a", "choices": [{"index": 0}]}

    assert mismatch(shown, {"model": "b", "choices": [{"index": 1}]}) is None
    assert mismatch(shown, {"model": "b", "choices": [{"index": None}]}) == (
        "answer.choices[0].index: shown as 0, got None"
    )
    assert mismatch(shown, {"model": "b"}) == "answer: shown with ['choices', 'model'], got ['model']"


def test_every_page_says_its_kind_and_stands_under_it_in_the_navigation() -> None:
    folders = {
        section: entry
        for item in yaml.safe_load(page("docs/nav.yml"))["nav"]
        for section, entry in item.items()
    }
    explained = {name for name in folders["Explanation"] if isinstance(name, str)}
    kinds = {
        path: re.findall(r"\A# .*\n\n(Tutorial|How-to|Reference|Explanation)\b", page(path))
        for path in documented()
    }

    assert {path for path, kind in kinds.items() if kind == ["Explanation"]} == explained
    assert [path for path, kind in kinds.items() if kind == ["Tutorial"]] == folders["Tutorial"]
    assert {path for path, kind in kinds.items() if kind == ["How-to"]} == {
        p for p in kinds if "/how-to/" in p
    }
    assert [path for path, kind in kinds.items() if not kind] == []


def documented() -> list[str]:
    """The pages that are of a kind: all but the lists of pages and the decisions."""
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/how-to/*.md")]
    return [str(path.relative_to(ROOT)) for path in pages if path.name not in ("README.md", "index.md")]


def test_the_list_of_how_to_pages_has_all_of_them() -> None:
    listed = re.findall(r"\]\((.*?\.md)\)", page("docs/how-to/README.md"))

    assert sorted(listed) == sorted(p.name for p in ROOT.glob("docs/how-to/*.md") if p.name != "README.md")


def test_the_tutorial_shows_its_files_as_they_are() -> None:
    tutorial = page("docs/first-hour.md")
    configuration, lines = (
        re.findall(rf"^```{kind}\n(.*?)^```$", tutorial, re.M | re.S) for kind in ("yaml", "py")
    )

    assert configuration == [page("docs/first_hour/models.yaml")]
    assert len(lines) == 1
    assert lines[0] in page("docs/first_hour/ask.py")


def test_every_command_of_the_tutorial_is_run() -> None:
    found = steps(page("docs/first-hour.md"))

    assert len(found) == len(re.findall(r"^```(?:sh|python)\b", page("docs/first-hour.md"), re.M))
    assert [step.code.split()[-1] for step in found if step.terminal == SERVERS] == [
        "&",
        "serve",
        "serve",
        "%1",
    ]


def test_a_printed_output_unlike_the_one_shown_is_noticed() -> None:
    shown = "model   share\na        90%\n"

    assert text_mismatch(shown, "model share\na 75%\n") is None
    assert text_mismatch(shown, "model share\n") == "shown with 2 lines, got 1"
    assert text_mismatch(shown, "model share\nb 90%\n") == "shown as 'a        90%', got 'b 90%'"
    assert text_mismatch(shown, "model share\na 10%\n") == (
        "shown as 'a        90%', got 'a 10%': 90 % and 10 % differ too much"
    )


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ('<a href="there.html#here">', None),
        ('<a href="folder">', None),
        ('<a href="#top">', None),
        ('<a href="https://example.com">', None),
        ('<a href="gone.html">', "gone.html does not exist"),
        ('<a href="there.html#gone">', "there.html#gone: the page has no such anchor"),
        ('<img src="gone.png">', "gone.png does not exist"),
        (
            '<script src="https://example.com/a.js">',
            "<script> loads https://example.com/a.js from another host",
        ),
    ],
)
def test_a_dead_link_of_the_built_site_is_found(tmp_path: Path, link: str, problem: str | None) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.html").write_text("", "utf-8")
    (tmp_path / "there.html").write_text('<h2 id="here">', "utf-8")
    (tmp_path / "index.html").write_text(f'<h1 id="top">{link}', "utf-8")

    assert problems(tmp_path) == ([f"index.html: {problem}"] if problem else [])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")

    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if target.startswith("http"):
            continue
        found = (path.parent / target).resolve() if target else path
        assert found.exists(), link
        assert not anchor or anchor in anchors(found.read_text("utf-8")), link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_files_that_a_page_names_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    named = re.findall(r"`((?:service|tests|bandit|benchmarks|migrations|embeddings|docs)/[\w/.-]*)`", text)

    missing = [name for name in named if not (ROOT / name).exists()]
    assert [name for name in missing if not name.startswith("benchmarks/results")] == []


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_json_examples_are_json(path: Path) -> None:
    for block in re.findall(r"^```json\n(.*?)^```$", path.read_text("utf-8"), re.M | re.S):
        json.loads(block)


def test_no_file_names_a_registry_or_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]

    found = [
        f"{path.relative_to(ROOT)}: {line.strip()[:80]}"
        for path in paths
        if path.exists() and path != Path(__file__)
        for line in path.read_text("utf-8", errors="replace").splitlines()
        if PRIVATE.search(line)
    ]

    assert found == []


def test_the_glossary_lists_names_that_the_code_has() -> None:
    section = page("docs/glossary.md").split("\n## Names in the code\n")[1]
    rooms = ("service", "bandit", "benchmarks")
    code = "".join(path.read_text("utf-8") for room in rooms for path in (ROOT / room).rglob("*.py"))

    names = re.findall(r"^\| `(\w+)` \|", section, re.M)

    assert names == sorted(names, key=str.casefold)
    assert [name for name in names if not re.search(rf"^(class {name}\b|{name} = )", code, re.M)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_curl_command_declares_its_body_as_json(path: Path) -> None:
    commands = re.findall(r"^ *curl (?:.*\\\n)*.*", path.read_text("utf-8"), re.M)

    assert not [c for c in commands if re.search(r" (-d|--data)\b", c) and "application/json" not in c]


def test_the_page_for_users_of_other_routers_names_tests_that_exist() -> None:
    rows = [line.split(" | ") for line in page("docs/from-other-routers.md").splitlines() if line[:2] == "| "]
    named = {name for *_, proof in rows for name in re.findall(r"`(test_\w+)`", proof)}
    sources = "\n".join(
        file.read_text("utf-8")
        for file in (ROOT / "tests").rglob("test_*.py")
        if "node_modules" not in file.parts
    )

    assert len(named) > 60
    assert named <= set(re.findall(r"^(?:async )?def (test_\w+)", sources, re.MULTILINE))
    for row in rows:
        text = " | ".join(row)
        assert "`test_" in text or re.search(r"missing|locked by hash|Linux;|what you had", text), text


def test_every_test_that_the_operations_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", page("docs/operations.md")))
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]

    assert len(named) > 15
    assert {name for name in named if not any(f"def {name}(" in source for source in sources)} == set()
