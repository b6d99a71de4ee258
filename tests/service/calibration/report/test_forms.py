"""The report as text, as JSON and as a page, also of hostile texts and odd figures."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import pytest

import service.calibration.report
from service.calibration.answers import GradedAnswer
from service.calibration.report.json_form import as_json
from service.calibration.report.page import as_html
from service.calibration.report.report import CalibrationReport
from service.calibration.report.sentences import amount
from service.calibration.report.text import as_text
from tests.service.calibration.report.made_up import TOPICS, answer, answers, played, prompt, vectors

FOLDER = Path(service.calibration.report.__file__).parent
SCHEMA = json.loads((FOLDER / "report.schema.json").read_text("utf-8"))
REFERENCE = Path(__file__).parents[4] / "docs" / "calibration-report.md"
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "</title></desc></svg></style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% for x in y %}",
    "]]><!--",
    "&lt;script&gt;",
    "javascript:alert(1)",
    "\u202egnp.exe\x1b[2J\x00\x07",
    "\ud800",
    "m" * 500,
)
VOID = {"meta", "br", "img", "link", "input", "hr"}


@cache
def full(n: int = 40) -> CalibrationReport:
    """Specialists on two tagged topics, enough for every part of a report."""
    rng = np.random.default_rng(1)
    topic = np.arange(n) % 2
    skills = np.array([[3.0, -2.0, 0.0], [-2.0, 3.0, 0.0]])
    scores, costs_usd = played(rng, topic, skills, np.array([0.001, 0.001, 0.02]))
    scores[0, 2] = np.nan
    contexts = vectors(rng, topic)
    return CalibrationReport.of(
        answers(scores, costs_usd, [TOPICS[t] for t in topic]), {f"key-{i}": contexts[i] for i in range(n)}
    )


def odd() -> dict[str, Sequence[GradedAnswer]]:
    one = prompt(1)
    return {
        "one answer": [answer(one, "a", 1.0)],
        "no score": [answer(one, "a", None, problem="down")],
        "free": [answer(one, "a", 1.0, 0.0), answer(one, "b", 0.5, 0.0)],
        "free and paid": [answer(one, "a", 1.0, 0.0), answer(one, "b", 0.5, 0.2)],
        "no price": [answer(one, "a", 1.0, None), answer(one, "b", 0.5, None)],
        "tiny and huge": [answer(one, "a", 1.0, 1e-9), answer(one, "b", 0.5, 5000.0)],
        "equal": [answer(prompt(i), arm, 1.0, 0.1) for i in range(40) for arm in ("a", "b")],
        "all wrong": [answer(prompt(i), arm, 0.0, 0.1) for i in range(40) for arm in ("a", "b")],
        "no seconds": [answer(one, "a", 1.0, 0.1, latency_s=0.0)],
        "missing": [answer(prompt(i), "ab"[i % 2], 1.0) for i in range(40)],
        "many models": [answer(prompt(i), f"m{arm}", arm / 40) for i in range(6) for arm in range(40)],
        "many topics": [answer(prompt(i, task=f"t{i // 5}"), "a", 1.0) for i in range(100)],
    }


ODD = odd()


@cache
def hostile(text: str) -> CalibrationReport:
    """The text wherever a user or a provider can put one."""
    asked = [prompt(i, text, task=text if i < 6 else None) for i in range(30)]
    found = [answer(p, arm, 0.5, 0.1) for p in asked for arm in (text, "other")]
    return CalibrationReport.of([*found, answer(asked[0], f"{text}!", None, problem=text)])


class Parsed(HTMLParser):
    """The tags and attributes of a page; every tag must be closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.mark.parametrize("name", list(ODD))
def test_every_form_takes_odd_figures(name: str) -> None:
    report = CalibrationReport.of(ODD[name])

    text, page = as_text(report), as_html(report)
    jsonschema.validate(json.loads(as_json(report)), SCHEMA)

    Parsed(page)
    assert not re.search(r"\b(nan|inf|None|Interval)\b", text + page)


def test_the_json_has_the_form_of_its_schema() -> None:
    found = json.loads(as_json(full()))

    jsonschema.validate(found, SCHEMA)
    assert found["routing"]["equal_dollars"]["verdict"] == "yes"
    assert found["models"][0]["quality"].keys() == {"value", "low", "high"}


@pytest.mark.parametrize(
    "path", [("version",), ("models", 0, "quality"), ("routing", "equal_quality", "saving")]
)
def test_the_schema_notices_a_renamed_field(path: tuple[str | int, ...]) -> None:
    found = json.loads(as_json(full()))
    holder = found
    for step in path[:-1]:
        holder = holder[step]
    holder["renamed"] = holder.pop(path[-1])

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, SCHEMA)


def test_the_reference_page_lists_every_field_of_the_schema() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", REFERENCE.read_text("utf-8"), re.M))

    assert documented == set(fields(SCHEMA))


def fields(schema: dict[str, Any]) -> list[str]:
    """The names of all fields of a schema."""
    own = list(schema.get("properties", {}))
    for key in ("properties", "$defs"):
        for part in schema.get(key, {}).values():
            own += fields(part)
    for part in [schema.get("items"), *schema.get("anyOf", [])]:
        own += fields(part) if isinstance(part, dict) else []
    return own


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_texts_on_the_page(text: str) -> None:
    page = as_html(hostile(text))
    plain, attacked = Parsed(as_html(hostile("harmless"))), Parsed(page)

    assert attacked.tags <= plain.tags
    assert {name for name, _ in attacked.attributes} == {name for name, _ in plain.attributes}
    assert unescape(page).count(text[:200].encode("utf-8", "replace").decode()) >= 4


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_send_nothing_to_a_terminal(text: str) -> None:
    found = as_text(hostile(text))

    assert all(c == "\n" or c.isprintable() for c in found)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_json(text: str) -> None:
    jsonschema.validate(json.loads(as_json(hostile(text))), SCHEMA)


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = Parsed(as_html(full()))

    assert not page.tags & {"script", "iframe", "object", "embed", "link", "img", "base", "form"}
    names = {name for name, _ in page.attributes}
    assert not [name for name in names if name.startswith("on")]
    assert not names & {"src", "href", "srcset", "action", "style", "xlink:href"}
    assert not re.search(r"url\(|@import|https?://", as_html(full()))
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_the_page_serves_phones_dark_rooms_and_screen_readers() -> None:
    html = as_html(full())
    page = Parsed(html)

    assert ("content", "width=device-width, initial-scale=1") in page.attributes
    assert "prefers-color-scheme: dark" in html
    assert ("lang", "en") in page.attributes
    assert len(page.ids) == len(set(page.ids))
    named = [i for name, value in page.attributes if name == "aria-labelledby" for i in (value or "").split()]
    assert named
    assert set(named) <= set(page.ids)
    assert html.count("<svg") == html.count('role="img"') == html.count("<desc")


def test_every_mark_of_a_chart_is_inside_it() -> None:
    for name in ODD:
        page = as_html(CalibrationReport.of(ODD[name]))
        for drawing in re.findall(r"<svg.*?</svg>", page, re.S):
            svg = ElementTree.fromstring(drawing)
            _, _, width, height = map(float, svg.attrib["viewBox"].split())
            for circle in svg.iter("circle"):
                assert 0 <= float(circle.attrib["cx"]) <= width
                assert 0 <= float(circle.attrib["cy"]) <= height


def test_the_chart_shows_what_routing_gets() -> None:
    page, alone = as_html(full()), as_html(CalibrationReport.of(ODD["one answer"]))

    assert page.count('class="routing"') == 2
    assert "routing at equal dollars: quality" in page
    assert 'class="routing"' not in alone


def test_the_text_has_each_model_with_its_figures() -> None:
    report = full()
    text = as_text(report)

    for model in report.models:
        assert re.search(rf"^{model.model}  +0\.\d{{3}} \[0\.\d{{3}}, [01]\.\d{{3}}\]", text, re.M)
    assert "topic code: 20 prompts, 50 % of the weight" in text
    assert "At equal dollars routing gains quality" in text
    assert "1 without a score: model-2: timed out" in text


def test_the_text_says_when_there_are_too_few_prompts() -> None:
    assert "Too few prompts to tell what routing could save: 12 have" in as_text(full(13))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.000123456, "0.000123"),
        (0.0999999, "0.100"),
        (0.5, "0.500"),
        (9.999, "10.0"),
        (12.3456, "12.3"),
        (123.456, "123"),
        (1234567.0, "1,234,567"),
        (-0.05, "-0.0500"),
        (float("inf"), "∞"),
    ],
)
def test_amounts_have_three_digits_and_no_exponent(value: float, shown: str) -> None:
    assert amount(value) == shown
