"""The measured rows as a table, as JSON, and as a chart."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

from benchmarks.charts import draw_costs
from benchmarks.latency.rows import Row, chunk_us

FOLDER = Path("benchmarks/results")
DIRECT = "direct"
HEADER = """\
                             added ms, one client   stream 32 clients   CPU us         of it  PostgreSQL B
                                     p50      p99  tail ms      per s  a request x floor  PG    row    WAL"""


def table(rows: list[Row]) -> str:
    lines = [HEADER]
    for row in rows:
        added50, added99 = _added_ms(row, rows)
        figures = (
            f"{_number(added50, 9, 2)} {_number(added99, 8, 2)} {_number(row.tail_ms, 8, 2)} "
            f"{row.per_s:10,.0f} {_number(row.cpu_us, 10, 0)} {_number(_floors(row, rows), 7, 1)} "
            f"{_number(row.postgres_us, 5, 0)} "
            f"{_number(row.table_bytes, 6, 0)} {_number(row.wal_bytes, 6, 0)}"
        )
        failed = f"  {row.n_failed} FAILED" if row.n_failed else ""
        lines.append(f"{row.server + ': ' + row.name:30} {figures}{failed}")
    lines += [
        f"{stream.server}: {cost_us:.1f} us of CPU a chunk, {1e6 / cost_us:,.0f} chunks/s per core"
        for stream, whole in _streams(rows)
        if (cost_us := chunk_us(stream, whole)) > 0
    ]
    return "\n".join(lines)


def save(rows: list[Row], path: Path, **context: object) -> None:
    """Write JSON and, beside it, a chart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chunks = {stream.server: chunk_us(stream, whole) for stream, whole in _streams(rows)}
    written = {
        **context,
        "load": os.getloadavg(),
        "chunk_us": chunks,
        "rows": [{**asdict(row), "added_p50_ms": _added_ms(row, rows)[0]} for row in rows],
    }
    path.write_text(json.dumps(written, indent=1), "utf-8")
    draw_costs(
        [(f"{row.server}: {row.name}", row.cpu_us) for row in rows if not math.isnan(row.cpu_us)],
        path.with_suffix(".png"),
    )


def _streams(rows: list[Row]) -> list[tuple[Row, Row]]:
    """Each stream with the same request whole."""
    whole = {row.server: row for row in rows if row.name in ("chat", "pinned, seen")}
    return [(row, whole[row.server]) for row in rows if row.name == "stream" and row.server in whole]


def _added_ms(row: Row, rows: list[Row]) -> tuple[float, float]:
    """Latency beyond that of the provider alone. Feedback calls no provider."""
    name = "stream" if row.name == "stream" else "chat"
    direct = next((r for r in rows if r.server == DIRECT and r.name == name), None)
    if direct is None or row.name == "feedback":
        return row.p50_ms, row.p99_ms
    return row.p50_ms - direct.p50_ms, row.p99_ms - direct.p50_ms


def _floors(row: Row, rows: list[Row]) -> float:
    name = "stream" if row.name == "stream" else "chat"
    return next((row.cpu_us / r.cpu_us for r in rows if r.server == "floor" and r.name == name), math.nan)


def _number(value: float, width: int, digits: int) -> str:
    return " " * (width - 1) + "-" if math.isnan(value) else f"{value:{width},.{digits}f}"
