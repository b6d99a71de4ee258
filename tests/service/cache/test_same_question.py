"""Which wordings may share an answer. The measured pairs are in benchmarks/semantic_cache_pairs.jsonl."""

from __future__ import annotations

import pytest

from service.cache.same_question import may_share_answer

SAME = [
    ("What is the capital of Chad?", "what's the capital of chad"),
    ("How do I undo a commit?", "Hi, please show me how to undo a commit. Thanks!"),
    ("Can you explain entropy?", "Explain entropy, please."),
    ("What is the colour of jade?", "What is the color of jade?"),
    ("I can't log in.", "I cannot log in"),
    ("Wie kann ich kündigen?", "Hallo, wie kann man kündigen, bitte?"),
    ("¿Cómo puedo pagar?", "Hola, ¿cómo se puede pagar?"),
    ("如何付款", "请问如何付款"),
    ("Quote “this”", "Quote “this” "),
]
APART = [
    ("Is it legal?", "Is it not legal?"),
    ("Is it legal?", "Is it illegal?"),
    ("What is 12 % of 30?", "What is 21 % of 30?"),
    ("Is Lima larger than Quito?", "Is Quito larger than Lima?"),
    ("5 km in miles", "5 miles in km"),
    ("How do I work?", "How do you work?"),
    ("Can you dance?", "Dance?"),
    ("She agreed.", "She agreed?"),
    ("What does it mean?", "What does IT mean?"),
    ("Price of Apple", "price of an apple"),
    ("Price of Apple", "price of apple"),
    ("Translate 'cat'", "Translate 'cats'"),
    ('Say "hi" please', 'Say "hi"'),
    ("What does f(x) do?", "What does f (x) do?"),
    ("Fix this:\nx = 1", "Fix this:\nx = 2"),
    ("Wer ist älter, Ada oder Bob?", "Wer ist älter, Bob oder Ada?"),
    ("法国的首都", "德国的首都"),
    ("Hello", "Hi"),
    ("please", "thanks"),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_wordings_that_cannot_change_the_answer_share_it(a: str, b: str) -> None:
    assert may_share_answer(a, b)
    assert may_share_answer(b, a)


@pytest.mark.parametrize(("a", "b"), APART)
def test_any_other_difference_keeps_the_answers_apart(a: str, b: str) -> None:
    assert not may_share_answer(a, b)
    assert not may_share_answer(b, a)
