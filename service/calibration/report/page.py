"""The report as one HTML page: no script, nothing from another host, every text escaped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from service.calibration.report import sentences
from service.calibration.report.charts import frontier_chart, topic_charts
from service.calibration.report.report import CalibrationReport

TEMPLATE = "page.html.jinja"
LONGEST_LABEL = 22  # characters of a model's name in a chart


def as_html(report: CalibrationReport) -> str:
    """The page; text that no encoding has, such as half a surrogate pair, is replaced."""
    numbers = {model.model: number for number, model in enumerate(report.models, 1)}
    page = _template().render(
        report=report,
        numbers=numbers,
        say=sentences,
        summary=sentences.summary(report),
        methods=sentences.METHODS,
        frontier=frontier_chart(report, numbers),
        topics=topic_charts(report.topics, numbers),
    )
    return page.encode("utf-8", "replace").decode()


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = _short
    return environment.get_template(TEMPLATE)


def _short(name: str) -> str:
    """The end of a long name, which tells more models apart than its beginning."""
    return name if len(name) <= LONGEST_LABEL else f"…{name[1 - LONGEST_LABEL :]}"
