"""The conditions of a rule: what a request must be for the rule to match it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.domain.query import Query

ANY_VALUE = "*"  # of a header: it is sent, whatever it says
FENCE = "```"
CODE_ENDS = ("{", "}", ";", ":", ")", ",")


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold for a rule to match, all of it.

    Args:
        tags: the values that match, by the name of the tag.
        tasks: the tasks of the client that match; None: any, and none.
        headers: the value of each header, by its name in small letters; `*`: any value.
        lines_of_code_over, tokens_over: limits that the request must exceed; None: no limit.
    """

    tags: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tasks: frozenset[str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    lines_of_code_over: int | None = None
    tokens_over: int | None = None

    def hold(self, query: Query, tags: Mapping[str, str]) -> bool:
        """Whether all conditions hold.

        Args:
            tags: the values of the tags of the query, by their names.
        """
        return (
            all(tags.get(name) in values for name, values in self.tags.items())
            and (self.tasks is None or query.options.task in self.tasks)
            and all(_says(query, name, value) for name, value in self.headers.items())
            and (self.tokens_over is None or query.n_prompt_tokens > self.tokens_over)
            and (self.lines_of_code_over is None or lines_of_code(query.text) > self.lines_of_code_over)
        )


def _says(query: Query, header: str, value: str) -> bool:
    sent = query.rule_headers.get(header)
    return sent is not None and value in (ANY_VALUE, sent.strip())


def lines_of_code(text: str) -> int:
    """The lines of code in a prompt that are not blank.

    They are the lines within fences; without a fence, those that are indented or end as code does.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    n_within, is_within, has_fence = 0, False, False
    for line in lines:
        if line.lstrip().startswith(FENCE):
            is_within, has_fence = not is_within, True
        else:
            n_within += is_within
    if has_fence:
        return n_within
    return sum(line[0] in " \t" or line.rstrip().endswith(CODE_ENDS) for line in lines)
