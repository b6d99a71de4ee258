"""Every statement on tables of tenants has a condition on the tenant, or a reason to have none.

Row security stands behind those that read for one tenant. Those on the way of a request, which find and write
for all tenants in groups, have nothing but their conditions.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import service.store

TABLES = (
    "attempts", "cached_answers", "calibrations", "decisions", "evidence", "feedback_events", "histories",
    "memory_queue", "outcomes", "request_bodies", "responses", "sessions", "shadow_answers", "verdicts",
)  # fmt: skip
STATEMENT = re.compile(r"^\s*(WITH|SELECT|INSERT|UPDATE|DELETE|LOCK)\b")
ON_A_TABLE = re.compile(rf"\b(FROM|JOIN|UPDATE|INTO|TABLE)\s+({'|'.join(TABLES)})\b")
# With a parameter, or with a column of parameters; or a row that is written with its tenant.
CONDITION = re.compile(r"\btenant = (\$\d|(key|c)\.tenant)|INSERT INTO \w+( AS \w+)?\s*\([^)]*\btenant\b")

OF_FOUND = "reads by decision ids that a statement with the tenant has found"
OF_ALL = "works for all tenants, and its rows say whose they are"
AGED = "deletes by age, of all tenants, and returns a number"
OF_FORGETTING = "the operator forgets what he names, of one tenant or of all"
OF_MOVING = "the operator moves the log of one tenant or of all to another database"
NO_ROWS = "returns no row of a tenant"
WITHOUT_TENANT = {
    "arm_registry._REGISTER": "whether anybody has rated another arm, as a condition of the catalogue",
    "arm_registry._REPRICE": "a model's price is one for all tenants",
    "arm_registry._BLOCK_ANSWERS": NO_ROWS,
    "evidence.contexts._WRITE": "writes under decision ids of this process, and returns nothing to clients",
    "evidence.contexts._COUNT_OTHER": "counts for the operator's rebuild",
    "evidence.contexts._OTHER_TEXTS": "reads texts for the operator's rebuild",
    "evidence.contexts._REPLACE": "writes contexts for the operator's rebuild",
    "evidence.evidence._CHANGED": OF_ALL,
    "evidence.evidence._CHANGED_HISTORIES": OF_ALL,
    "evidence.experiences.ALL": OF_ALL,
    "evidence.experiences.PENDING": OF_ALL,
    "evidence.experiences.PENDING_FOR": OF_ALL,
    "evidence.experiences._QUEUED": OF_ALL,
    "evidence.locked._LOCK": "the function lock_for_feedback has the condition",
    "evidence.rebuild._BLOCK_LEARNING": NO_ROWS,
    "evidence.rebuild._COUNT_DUE": OF_ALL,
    "evidence.rebuild._EVIDENCE": OF_ALL,
    "evidence.rebuild._HISTORIES": OF_ALL,
    "evidence.rebuild._OUTCOME_SUMS": OF_ALL,
    "evidence.rebuild._OUTCOME_SUMS_OF": OF_ALL,
    "evidence.rebuild._SUMS_OF_OUTCOMES": OF_ALL,
    "evidence.rebuild.SELECT EXISTS (SELECT FROM decisions)": NO_ROWS,
    "evidence.retired._RETIRE": OF_ALL,
    "forgetting.forget._STANDING": OF_FOUND,
    "forgetting.forget._TENANTS": OF_FORGETTING,
    "forgetting.retire._LOCK": OF_FORGETTING,
    "forgetting.retire._TENANTS": OF_FORGETTING,
    "forgetting.retire._UNRATED": OF_FORGETTING,
    "forgetting.kin._BATCH": OF_FORGETTING,
    "forgetting.kin._UNANSWERED": OF_FORGETTING,
    "log.whole_log._CLAIM": OF_MOVING,
    "log.whole_log._DECISIONS": OF_MOVING,
    "log.whole_log._MAKE_ROOM": OF_MOVING,
    "log.whole_log._NUMBERS": OF_MOVING,
    "log.whole_log._TAKEN": OF_MOVING,
    "log.cached_answers._PRUNE_EXPIRED": AGED,
    "log.cached_answers._PRUNE_OLDEST": AGED,
    "log.cached_answers._SURPLUS": AGED,
    "log.conversations._PRUNE": AGED,
    "log.record._ATTEMPTS": OF_FOUND,
    "log.record._FEEDBACK": OF_FOUND,
    "log.record._OUTCOME": OF_FOUND,
    "log.record._SHADOW": OF_FOUND,
    "log.request_bodies._PRUNE": AGED,
    "log.request_list._SUMMARIES": OF_FOUND,
    "log.responses._PRUNE": AGED,
    "log.spends._SPENDS": "one budget is for all tenants; arms and dollars only",
}


def test_every_statement_has_a_condition_on_the_tenant_or_a_reason() -> None:
    without = {name for name, sql in statements() if ON_A_TABLE.search(sql) and not CONDITION.search(sql)}

    assert without == WITHOUT_TENANT.keys()


def statements() -> Iterator[tuple[str, str]]:
    """The SQL of the store by module and name; what has no name is named by itself."""
    for found in pkgutil.walk_packages(service.store.__path__, "service.store."):
        module = importlib.import_module(found.name)
        place = found.name.removeprefix("service.store.")
        named = {name: value for name, value in vars(module).items() if _is_own(module, name, value)}
        yield from ((f"{place}.{name}", sql) for name, sql in named.items())
        tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from ((f"{place}.{sql}", sql) for sql in _unnamed(node))


def _is_own(module: ModuleType, name: str, value: object) -> bool:
    """Whether the module itself gives this statement its name."""
    is_sql = isinstance(value, str) and STATEMENT.match(value) is not None
    return (
        is_sql and re.search(rf"^{name} = ", Path(str(module.__file__)).read_text("utf-8"), re.M) is not None
    )


def _unnamed(function: ast.AST) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value):
            yield node.value
