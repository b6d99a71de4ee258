"""Each condition of a rule, and which rule counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.query import Options, Query
from service.domain.tags import Tag
from service.policies.conditions import Conditions, lines_of_code
from service.policies.policies import Policies
from service.policies.rules import Rule
from tests.service.completion.test_completion import query as query_of

ARMS = ("a", "b", "c", "d")
INTENTS = ("error", "test", "other")


def query(text: str = "Hello", n_prompt_tokens: int = 5, task: str | None = None, **headers: str) -> Query:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return replace(
        query_of(),
        text=text,
        n_prompt_tokens=n_prompt_tokens,
        options=Options(task=task),
        _rule_headers=sent,
    )


def tags(**values: str) -> list[Tag]:
    return [Tag(name, value, 1.0, None, "test") for name, value in values.items()]


@pytest.mark.parametrize(
    ("conditions", "matching", "other"),
    [
        (Conditions(tasks=frozenset({"legal"})), query(task="legal"), query(task="sales")),
        (Conditions(tasks=frozenset({"legal"})), query(task="legal"), query()),
        (Conditions(headers={"x-team": "research"}), query(x_team="research"), query(x_team="sales")),
        (Conditions(headers={"x-team": "research"}), query(x_team=" research "), query()),
        (Conditions(headers={"x-team": "*"}), query(x_team="sales"), query()),
        (Conditions(tokens_over=100), query(n_prompt_tokens=101), query(n_prompt_tokens=100)),
        (
            Conditions(lines_of_code_over=1),
            query("Why?\n```\nx = 1\ny = 2\n```"),
            query("Why?\n```\nx = 1\n```"),
        ),
    ],
)
def test_a_condition_holds_for_the_requests_that_it_describes(
    conditions: Conditions, matching: Query, other: Query
) -> None:
    assert conditions.hold(matching, {})
    assert not conditions.hold(other, {})


def test_a_condition_on_a_tag_holds_for_one_of_its_values_only() -> None:
    conditions = Conditions(tags={"intent": frozenset({"error", "test"})})

    assert conditions.hold(query(), {"intent": "test"})
    assert not conditions.hold(query(), {"intent": "other"})
    assert not conditions.hold(query(), {})


def test_all_conditions_must_hold() -> None:
    conditions = Conditions(tags={"intent": frozenset({"error"})}, tokens_over=100)

    assert conditions.hold(query(n_prompt_tokens=101), {"intent": "error"})
    assert not conditions.hold(query(n_prompt_tokens=99), {"intent": "error"})
    assert not conditions.hold(query(n_prompt_tokens=101), {"intent": "test"})


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        ("How are you?\nFine.", 0),
        ("Look:\n```python\nx = 1\n\ny = 2\n```\nand\n```\nz\n```", 3),
        ("```\nunclosed\nfence", 2),
        ("def f(x):\n    return x\n\nprint(f(1))", 3),
        ("int main() {\n\treturn 0;\n}", 3),
    ],
)
def test_lines_of_code_are_those_in_fences_or_that_look_like_code(text: str, n: int) -> None:
    assert lines_of_code(text) == n


rules = st.lists(
    st.builds(
        Rule,
        name=st.sampled_from(["one", "two", "three"]),
        conditions=st.builds(
            Conditions,
            tags=st.dictionaries(st.just("intent"), st.frozensets(st.sampled_from(INTENTS)), max_size=1),
            tokens_over=st.none() | st.integers(0, 20),
        ),
        arm_ids=st.none() | st.frozensets(st.sampled_from(ARMS), min_size=1),
    ),
    max_size=5,
)


@given(rules, st.sampled_from(INTENTS), st.integers(0, 30))
def test_the_first_rule_that_matches_counts_and_no_other(
    rules: list[Rule], intent: str, n_tokens: int
) -> None:
    asked = query(n_prompt_tokens=n_tokens)

    narrowings = Policies(rules=tuple(rules)).narrow(asked, tags(intent=intent))

    matching = [rule for rule in rules if rule.conditions.hold(asked, {"intent": intent})]
    assert [n.arm_ids for n in narrowings] == [rule.arm_ids for rule in matching[:1]]
    assert [n.rule for n in narrowings] == [rule.name for rule in matching[:1]]


@given(rules, st.sampled_from(INTENTS))
def test_a_named_model_is_never_narrowed(rules: list[Rule], intent: str) -> None:
    named = replace(query(), requested_model="a")

    assert Policies(rules=tuple(rules)).narrow(named, tags(intent=intent)) == ()
