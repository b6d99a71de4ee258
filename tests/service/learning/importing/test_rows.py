from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet

from service.errors import StartupError
from service.learning.importing.rows import Row, read_rows

NOW = datetime(2026, 11, 20, tzinfo=UTC)
GOOD = '{"prompt": "Why?", "model": "small", "score": 1}'


def written(folder: Path, *lines: str) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return path


def in_parquet(folder: Path, columns: Mapping[str, object]) -> Path:
    path = folder / "rows.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


def test_json_lines_are_read_with_all_fields(tmp_path: Path) -> None:
    full = (
        '{"prompt": "Why?", "model": "small", "score": 0.5, "cost_usd": 0.001, "latency_s": 2,'
        ' "propensity": 0.25, "at": "2026-07-01T12:00:00Z", "request_id": "r1", "category": "ignored",'
        ' "task": "facts", "prompt_tokens": 9}'
    )

    rows = list(read_rows(written(tmp_path, full, "", GOOD), NOW))

    assert rows[0] == Row(
        prompt="Why?",
        model="small",
        score=0.5,
        cost_usd=Decimal("0.001"),
        latency_s=2.0,
        propensity=0.25,
        at=datetime(2026, 7, 1, 12, tzinfo=UTC),
        request_id="r1",
        task="facts",
        prompt_tokens=9,
    )
    assert rows[1] == Row(prompt="Why?", model="small", score=1.0)


def test_a_parquet_file_may_have_the_same_columns(tmp_path: Path) -> None:
    columns = {"prompt": ["Why?", "How?"], "model": ["a", "b"], "score": [1.0, 0.0], "cost_usd": [0.5, None]}

    rows = list(read_rows(in_parquet(tmp_path, columns), NOW))

    assert [(r.prompt, r.model, r.score, r.cost_usd) for r in rows] == [
        ("Why?", "a", 1.0, Decimal("0.5")),
        ("How?", "b", 0.0, None),
    ]


def test_a_wide_parquet_file_gives_a_row_for_every_score(tmp_path: Path) -> None:
    columns = {
        "prompt": ["Why?", "How?"],
        "score:a": [1.0, 0.0],
        "cost:a": [0.5, 0.25],
        "score:b": [0.5, None],
    }

    rows = list(read_rows(in_parquet(tmp_path, columns), NOW))

    assert [(r.prompt, r.model, r.score, r.cost_usd) for r in rows] == [
        ("Why?", "a", 1.0, Decimal("0.5")),
        ("Why?", "b", 0.5, None),
        ("How?", "a", 0.0, Decimal("0.25")),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: must be a JSON object"),
        ("[]", "line 2: row: "),
        ('{"prompt": "Why?", "model": "small"}', "line 2: score: Field required"),
        ('{"prompt": "", "model": "small", "score": 1}', "line 2: prompt: "),
        ('{"prompt": "Why?", "model": "small", "score": 1.5}', "line 2: score: .* equal to 1, got 1.5"),
        ('{"model": "small", "score": 1}', "line 2: row: must have one of prompt and context"),
        (
            '{"prompt": "Why?", "context": "AACAPw==", "encoder": "e", "model": "small", "score": 1}',
            "line 2: row: must have one of prompt and context",
        ),
        (
            '{"context": "AACAPw==", "model": "small", "score": 1}',
            "line 2: row: must have both context and encoder, or neither",
        ),
        (
            '{"context": "AAAAAA==", "encoder": "e", "model": "small", "score": 1}',
            "line 2: context: must be the base64 of a vector of length 1",
        ),
        (
            '{"context": "no", "encoder": "e", "model": "small", "score": 1}',
            "line 2: context: must be the base64 of a vector of length 1",
        ),
        (
            '{"prompt": "Why?", "model": "small", "score": 1, "weight": 0}',
            "line 2: weight: .*1e-06|line 2: weight: .*0.000001",
        ),
        (
            '{"prompt": "Why?", "model": "small", "score": 1, "propensity": 0}',
            "line 2: propensity: .* 0, got 0",
        ),
        ('{"prompt": "Why?", "model": "small", "score": 1, "cost_usd": -1}', "line 2: cost_usd: "),
        ('{"prompt": "Why?", "model": "small", "score": 1, "at": "2026-07-01T12:00:00"}', "line 2: at: "),
        ('{"prompt": "Why?", "model": "small", "score": 1, "request_id": "a b"}', "line 2: request_id: "),
        ('{"prompt": "Why?", "model": "small", "score": "1"}', "line 2: score: must be a number, got '1'"),
        ('{"prompt": "Why?", "model": "small", "score": true}', "line 2: score: must be a number, got True"),
        (
            '{"prompt": "Why?", "model": "small", "score": 1, "at": "2026-11-20T00:00:01Z"}',
            "line 2: at: must be from 2000 on and not in the future, got 2026-11-20T00:00:01",
        ),
        (
            '{"prompt": "Why?", "model": "small", "score": 1, "at": "0001-01-01T00:00:00Z"}',
            "line 2: at: must be from 2000 on and not in the future, got 0001-01-01",
        ),
    ],
)
def test_a_row_that_breaks_a_rule_is_reported_with_field_and_rule(
    tmp_path: Path, line: str, message: str
) -> None:
    rows = read_rows(written(tmp_path, GOOD, line), NOW)

    assert next(rows).model == "small"
    with pytest.raises(StartupError, match=message):
        next(rows)


def test_a_score_that_is_no_number_is_named_by_its_row(tmp_path: Path) -> None:
    path = in_parquet(tmp_path, {"prompt": ["Why?", "How?"], "score:a": [1.0, float("nan")]})

    with pytest.raises(StartupError, match=r"row 2: score: .* got nan"):
        list(read_rows(path, NOW))


def test_a_prompt_is_never_shown_whole(tmp_path: Path) -> None:
    path = written(tmp_path, '{"prompt": ["' + "secret " * 50 + '"], "model": "small", "score": 1}')

    with pytest.raises(StartupError) as error:
        list(read_rows(path, NOW))

    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["absent.jsonl", "absent.parquet"])
def test_a_missing_file_is_reported(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartupError, match=f"{name}: cannot be read"):
        list(read_rows(tmp_path / name, NOW))


def test_a_file_that_is_not_parquet_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text(GOOD)

    with pytest.raises(StartupError, match="cannot be read as Parquet"):
        list(read_rows(path, NOW))
