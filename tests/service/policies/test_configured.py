"""Policies from settings: every fault stops the start, with the file and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import StartupError
from service.policies.configured import policies_of
from service.policies.policies import Policies
from service.settings.load import load_settings
from tests.service.world import ARMS

TIERS = """
  tiers:
    simple: [small]
    medium: [medium]
    complex: [big]
"""


def configured(tmp_path: Path, section: str) -> Policies:
    file = tmp_path / "config.yaml"
    file.write_text(f"policies:\n{section}")
    environ = {"CONFIG_FILE": str(file)}
    return policies_of(load_settings(file, environ), ARMS, environ)


def test_rules_tiers_and_experts_name_models_by_id_or_alias(tmp_path: Path) -> None:
    policies = configured(
        tmp_path,
        TIERS.lstrip("\n")
        + """
  rules:
    - {name: long, when: {tokens_over: 10}, min_tier: medium, fallback_model: mini}
  experts:
    coding: {description: writes programs, models: [big]}
""",
    )

    long, coding = policies.rules
    assert (long.arm_ids, long.fallback_arm_id) == (frozenset({"medium", "large"}), "small")
    assert (coding.name, coding.arm_ids) == ("expert:coding", frozenset({"large"}))
    assert policies.tiers.of("large") == "complex"


@pytest.mark.parametrize(
    ("section", "line", "fault"),
    [
        (
            "  tiers:\n    low: [nobody]",
            3,
            "policies.tiers.low names 'nobody', which is not one of the models",
        ),
        ("  tiers:\n    low: [small]\n    high: [mini]", 4, "names 'mini', which is in tier low already"),
        (
            "  tier_by_difficulty: true",
            2,
            "needs a tier for each difficulty, and has none for simple, medium",
        ),
        ("  rules:\n    - {name: a, when: {}, models: [big]}", 3, "must have at least one condition"),
        ("  rules:\n    - {name: a, when: {task: x}}", 3, "must have models, tier, min_tier or escalate"),
        (
            "  rules:\n    - {name: a, when: {task: x}, models: [nobody]}",
            3,
            "policies.rules[0].models names 'nobody'",
        ),
        ("  rules:\n    - {name: a, when: {task: x}, models: []}", 3, "must name at least one model"),
        (
            "  rules:\n    - {name: a, when: {task: x}, tier: top}",
            3,
            "names 'top', which is not one of the tiers",
        ),
        (
            "  rules:\n    - name: a\n      when: {intent: mistake}\n      models: [big]",
            4,
            "policies.rules[0].when.intent must be one of completion, error",
        ),
        ("  rules:\n    - {name: a, when: {tag.intnt: x}, models: [big]}", 3, "did you mean `intent`?"),
        ("  rules:\n    - {name: a, when: {expert: x}, models: [big]}", 3, "must be one of none, got 'x'"),
        (
            "  rules:\n    - {name: a, when: {task: x}, models: [big]}\n"
            "    - {name: a, when: {task: y}, models: [big]}",
            4,
            "'a' is the name of an earlier rule",
        ),
        (
            "  rules:\n    - {name: a, when: {tokens_over: 10}, models: [big]}\n"
            "    - {name: b, when: {tokens_over: 20, task: y}, models: [big]}",
            4,
            "can never count: rule 'a' before it matches first",
        ),
        (
            "  experts:\n    coding: {description: writes programs, models: [nobody]}",
            3,
            "policies.experts.coding.models names 'nobody'",
        ),
    ],
)
def test_a_fault_stops_the_start_with_the_file_and_the_line(
    tmp_path: Path, section: str, line: int, fault: str
) -> None:
    with pytest.raises(StartupError) as raised:
        configured(tmp_path, section)

    assert fault in str(raised.value)
    assert f"config.yaml, line {line}: " in str(raised.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{tokens_over: 20}", "{tokens_over: 10}"),
        ("{intent: error}", "{intent: [error, test]}"),
        ("{header: {x-team: a}}", "{header: {x-team: '*'}}"),
        ("{intent: error, task: x}", "{intent: error}"),
        ("{lines_of_code_over: 3}", "{tokens_over: 3}"),
    ],
)
def test_a_rule_that_matches_more_than_those_before_it_counts(
    tmp_path: Path, first: str, second: str
) -> None:
    rules = f"  rules:\n    - {{name: a, when: {first}, models: [big]}}\n"
    policies = configured(tmp_path, f"{rules}    - {{name: b, when: {second}, models: [mini]}}\n")

    assert [rule.name for rule in policies.rules] == ["a", "b"]


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as raised:
        configured(
            tmp_path, "  tiers: {low: [nobody]}\n  rules:\n    - {name: a, when: {task: x}, tier: top}"
        )

    assert "2 errors in the settings" in str(raised.value)
