"""Ask the router N questions and grade the answers; with --feedback, also send the grades to the router.

`python docs/first_hour/ask.py N [--feedback]`
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from uuid import uuid4

import httpx
from openai import OpenAI

ROUTER = "http://127.0.0.1:8080"
client = OpenAI(base_url=f"{ROUTER}/v1", api_key="not-needed")


def a_sum() -> tuple[str, str]:
    """A question, and what a right answer contains."""
    a, b = random.randint(10, 999), random.randint(10, 999)
    return f"What is {a} + {b}?", str(a + b)


def a_weekday() -> tuple[str, str]:
    day = date(2000, 1, 1) + timedelta(days=random.randint(0, 20_000))
    return f"Which day of the week is {day:%-d %B %Y}?", f"{day:%A}"


def ask(question: str, right: str, *, feedback: bool) -> tuple[str, float]:
    """Ask one question; returns the model that answered, and the grade."""
    request_id = f"ask-{uuid4()}"
    completion = client.chat.completions.create(
        model="auto",  # the router chooses
        messages=[{"role": "user", "content": question}],
        extra_headers={"X-Request-ID": request_id},
    )
    score = 1.0 if right in (completion.choices[0].message.content or "") else 0.0
    if feedback:
        grade = {"request_id": request_id, "score": score}
        httpx.post(f"{ROUTER}/feedback", json=grade).raise_for_status()
    return completion.model, score


def main() -> None:
    n, feedback = int(sys.argv[1]), "--feedback" in sys.argv
    kinds: dict[str, Callable[[], tuple[str, str]]] = {"sums": a_sum, "weekdays": a_weekday}
    answered = {kind: Counter[str]() for kind in kinds}
    points = dict.fromkeys(kinds, 0.0)
    for i in range(n):
        kind = list(kinds)[i % 2]
        model, score = ask(*kinds[kind](), feedback=feedback)
        answered[kind][model] += 1
        points[kind] += score
    print("            acme-mini   acme-large   right answers")
    for kind, models in answered.items():
        total = models.total()
        shares = [models["acme-mini"] / total, models["acme-large"] / total, points[kind] / total]
        print("{:10} {:9.0%} {:12.0%} {:15.0%}".format(kind, *shares))


if __name__ == "__main__":
    main()
