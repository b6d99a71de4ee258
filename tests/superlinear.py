"""Which regular expressions may take more than linear time, by an analysis of their automaton.

A backtracking matcher is linear if no text can be read in a growing number of ways. It is not if two
different loops p and q read the same word, and the same word leads from p to q: each repetition of the word
may then be read by either loop (Weber & Seidl, 1991, On the degree of ambiguity of finite automata). The same
holds if one loop holds another (`(a+)+`), which shows as a step that exists twice.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from re import _compiler, _constants, _parser  # type: ignore[attr-defined]  # the parser has no public name
from typing import Any, TypeAlias

MAX_COPIES = 8  # a repeat up to this many times is analysed as so many copies, a longer one as a loop
MAX_FACTOR = 128  # of texts of any length
ALPHABET = "".join(map(chr, [*range(0x250), 0x660, 0x2028, 0x3000, 0x4E00, 0x1F600]))

Loops: TypeAlias = "tuple[str, str]"


@dataclass
class _Part:
    """A part of a pattern, by positions.

    Args:
        first: where it may begin.
        last: where it may end.
        final: where it may end without a condition on what follows.
        n_empty: in how many ways it may be empty; 2 stands for more.
        is_free: whether it may be empty without a condition on what follows.
    """

    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    final: list[int] = field(default_factory=list)
    n_empty: int = 1
    is_free: bool = True


class _Automaton:
    """The positions of a pattern, without empty steps (Glushkov's construction)."""

    def __init__(self, pattern: str, flags: int, *, is_search: bool, max_factor: int) -> None:
        self._max_factor = max_factor
        tree = _parser.parse(pattern, flags)
        self.flags: int = tree.state.flags
        self.chars: list[int] = []  # by position, one bit for each character of the alphabet
        self.names: list[str] = []
        self.steps: list[Counter[int]] = []
        self.endless: set[int] = set()  # positions in loops without a small bound
        self.start: int | None = None
        whole = self._sequence(list(tree))
        self.final = set(whole.final)
        if is_search and not (tree and self._is_beginning(tree[0])):
            self.start = self._position((1 << len(ALPHABET)) - 1, "start")
            self._link([self.start], [self.start, *whole.first])
            self.endless.add(self.start)

    def _is_beginning(self, item: Any) -> bool:
        op, argument = item
        is_line = argument is _constants.AT_BEGINNING and not self.flags & re.MULTILINE
        return bool(op is _constants.AT and (is_line or argument is _constants.AT_BEGINNING_STRING))

    def _position(self, chars: int, name: str) -> int:
        self.chars.append(chars)
        self.names.append(name)
        self.steps.append(Counter())
        return len(self.chars) - 1

    def _link(self, sources: Iterable[int], targets: list[int]) -> None:
        for source in sources:
            self.steps[source].update(targets)

    def _sequence(self, items: list[Any]) -> _Part:
        whole = _Part()
        for item in items:
            whole = self._then(whole, self._item(item))
        return whole

    def _then(self, left: _Part, right: _Part) -> _Part:
        self._link(left.last, right.first)
        return _Part(
            left.first + right.first * left.n_empty,
            right.last + left.last * right.n_empty,
            right.final + (left.final if right.is_free else []),
            min(left.n_empty * right.n_empty, 2),
            left.is_free and right.is_free,
        )

    def _item(self, item: Any) -> _Part:
        op, argument = item
        match str(op):
            case "AT":
                return _Part(is_free=False)
            case "SUBPATTERN":
                return self._with_flags(*argument[1:])
            case "ATOMIC_GROUP":
                return self._sequence(list(argument))
            case "BRANCH":
                return _either([self._sequence(list(branch)) for branch in argument[1]])
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                return self._repeat(*argument)
            case "ASSERT" | "ASSERT_NOT":
                direction, inner = argument
                # What is ahead is read too, but leads nowhere; what is behind has a fixed length.
                return _Part(self._sequence(list(inner)).first if direction > 0 else [], is_free=False)
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                position = [self._position(self._matching(item), _shown(item))]
                return _Part(position, position, position, n_empty=0, is_free=False)
        raise NotImplementedError(f"{op} is not analysed")

    def _with_flags(self, added: int, removed: int, inner: Any) -> _Part:
        before, self.flags = self.flags, (self.flags | added) & ~removed
        part = self._sequence(list(inner))
        self.flags = before
        return part

    def _repeat(self, least: int, most: int, inner: Any) -> _Part:
        whole = _Part()
        n_before = len(self.chars)
        n_copies = most if most <= MAX_COPIES else max(1, min(least, MAX_COPIES))
        for number in range(n_copies):
            part = self._sequence(list(inner))
            if most > MAX_COPIES and number == n_copies - 1:
                self._link(part.last, part.first)
            if number >= least:
                part.n_empty, part.is_free = min(part.n_empty + 1, 2), True
            whole = self._then(whole, part)
        if most > self._max_factor:
            self.endless.update(range(n_before, len(self.chars)))
        return whole

    def _matching(self, item: Any) -> int:
        one = _parser.SubPattern(_parser.State(), [item])
        one.state.flags = self.flags
        matcher = _compiler.compile(one, self.flags)
        return sum(1 << bit for bit, char in enumerate(ALPHABET) if matcher.match(char))


def _either(parts: list[_Part]) -> _Part:
    return _Part(
        [position for part in parts for position in part.first],
        [position for part in parts for position in part.last],
        [position for part in parts for position in part.final],
        min(sum(part.n_empty for part in parts), 2),
        any(part.is_free for part in parts),
    )


def _shown(item: Any) -> str:
    op, argument = item
    return repr(chr(argument)) if str(op) == "LITERAL" else f"{op} {argument}"


def ambiguous_loops(
    pattern: str, flags: int = 0, *, is_search: bool = True, max_factor: int = MAX_FACTOR
) -> Loops | None:
    """Two loops that can read the same text, which takes superlinear time; None: there are none.

    Args:
        is_search: the pattern may begin anywhere, as in `search`, `sub`, `split` and `findall`.
        max_factor: a loop up to this many times costs a constant factor, a longer one counts as endless.

    Raises:
        NotImplementedError: the pattern has a construct that is not analysed, such as a back reference.
    """
    nfa = _Automaton(pattern, flags, is_search=is_search, max_factor=max_factor)
    reached = [_reached(nfa, position) for position in range(len(nfa.chars))]
    loops = [p for p in range(len(nfa.chars)) if p in reached[p]]
    for p in loops:
        for q, n_steps in nfa.steps[p].items():
            if n_steps > 1 and p in reached[q]:
                return nfa.names[p], nfa.names[q]
    for p in nfa.endless.intersection(loops):
        for q in nfa.endless.intersection(loops):
            # A search ends where a match may end.
            is_match = p == nfa.start and q in nfa.final
            if p != q and q in reached[p] and not is_match and _read_the_same(nfa, reached, p, q):
                return nfa.names[p], nfa.names[q]
    return None


def _reached(nfa: _Automaton, start: int) -> set[int]:
    found: set[int] = set()
    pending = [start]
    while pending:
        new = set(nfa.steps[pending.pop()]) - found
        found |= new
        pending.extend(new)
    return found


def _read_the_same(nfa: _Automaton, reached: list[set[int]], p: int, q: int) -> bool:
    """Whether one word leads from p to p, from p to q, and from q to q."""
    begin, goal = (p, p, q), (p, q, q)
    seen = {begin}
    pending = deque([begin])
    while pending:
        a, b, c = pending.popleft()
        for next_a in nfa.steps[a]:
            if p not in reached[next_a]:
                continue
            for next_c in nfa.steps[c]:
                common = nfa.chars[next_a] & nfa.chars[next_c]
                if not common or q not in reached[next_c]:
                    continue
                for next_b in nfa.steps[b]:
                    state = (next_a, next_b, next_c)
                    if state == goal and common & nfa.chars[next_b]:
                        return True
                    if state not in seen and common & nfa.chars[next_b] and q in reached[next_b] | {next_b}:
                        seen.add(state)
                        pending.append(state)
    return False
