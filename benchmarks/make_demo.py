"""Write the made-up outcomes that `router demo` replays.

    python benchmarks/make_demo.py [PATH]

No row was recorded: prompts come from templates with slots, five invented models have a skill per topic and a
price, and a seed makes every run write the same rows. An expensive model is good at everything, and two are
good at some topics for a fraction of its price, so that choosing by the topic of a prompt pays.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import Formatter

from service.commands.jobs.replay.demo import DEMO_FILE

SEED = 20
ROWS_PER_TOPIC = 60
CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Model:
    """An invented model; prices in US dollars per million tokens."""

    name: str
    input_price: float
    output_price: float
    verbosity: float  # length of the model's answers, 1 = usual
    skill: dict[str, float]  # mean score per topic


@dataclass(frozen=True, slots=True)
class Topic:
    """Prompts of one kind."""

    name: str
    answer_tokens: float  # usual length of an answer
    templates: tuple[str, ...]
    slots: dict[str, tuple[str, ...]]


def skills(*means: float) -> dict[str, float]:
    return dict(zip((topic.name for topic in TOPICS), means, strict=True))


TOPICS = (
    Topic(
        "code",
        320,
        (
            "Write a {language} function that {task}. Add type annotations and a short docstring.",
            "This {language} code {task}, but it fails on an empty input. Show a fixed version.",
            "Refactor this {language} function so that it {task} without a nested loop.",
            "Write unit tests for a {language} method that {task}.",
        ),
        {
            "language": ("Python", "TypeScript", "Go", "Rust", "Java"),
            "task": (
                "merges two sorted lists of integers",
                "parses a CSV line with quoted fields",
                "removes duplicates from an array and keeps the order",
                "retries an HTTP request with exponential backoff",
                "finds the longest palindrome in a string",
                "groups records by a key and sums a column",
                "checks whether brackets in a string are balanced",
                "caches the results of a pure function with a size limit",
            ),
        },
    ),
    Topic(
        "maths",
        220,
        (
            "{name} buys {a} {things} at ${b} each and pays ${c}. How much change is there? Show the steps.",
            "A box holds {a} {things}. {name} packs {c} of them. How many full boxes are there?",
            "If {a} {things} weigh {b} kilograms together, how much do {c} of them weigh? Step by step.",
            "{name} paid ${c} for {things}. The price rises, then falls, by {b} percent. What is it now?",
        ),
        {
            "name": ("Aiko", "Bram", "Chidi", "Daria", "Elif", "Farid"),
            "things": ("pencils", "oranges", "light bulbs", "notebooks", "bolts", "candles"),
            "a": ("6", "8", "12", "15", "24"),
            "b": ("2", "3", "4", "5", "10"),
            "c": ("250", "300", "400", "500"),
        },
    ),
    Topic(
        "translation",
        60,
        (
            'Translate into {language}, in a {tone} tone: "{sentence}"',
            'How do you say "{sentence}" in {language}? Keep it {tone}.',
            'Here is a sentence for a {tone} letter: "{sentence}" Give me the {language} translation only.',
        ),
        {
            "language": ("German", "Portuguese", "Japanese", "Polish", "Turkish"),
            "tone": ("formal", "friendly", "neutral"),
            "sentence": (
                "We are sorry that your parcel has not arrived yet.",
                "Could we move our appointment to Thursday morning?",
                "The museum is closed for repairs until the end of May.",
                "Thank you for your patience while we look into this.",
                "Please leave your shoes at the door when you come in.",
                "The last train to the coast leaves at a quarter past nine.",
            ),
        },
    ),
    Topic(
        "facts",
        40,
        (
            "Which {feature} of {place} is the largest, and how large is it?",
            "In one sentence: what is {place} best known for when it comes to its {feature}?",
            "Name three facts about the {feature} of {place} that a traveller should know.",
            "Since when has {place} protected its {feature}, and why?",
        ),
        {
            "feature": ("lake", "national park", "river", "mountain range", "harbour"),
            "place": (
                "Norway",
                "Peru",
                "Kenya",
                "New Zealand",
                "Vietnam",
                "Canada",
                "Morocco",
                "Iceland",
            ),
        },
    ),
    Topic(
        "writing",
        380,
        (
            "Write a {length} {form} about {subject} that ends on a hopeful note.",
            "I need a {length} {form} for our newsletter about {subject}. Make it warm and a little funny.",
            "Draft a {length} {form} in the voice of a grandmother who remembers {subject}.",
        ),
        {
            "length": ("short", "two-paragraph", "vivid", "quiet"),
            "form": ("poem", "story", "farewell speech", "birthday toast", "letter to a friend"),
            "subject": (
                "the first snow in a small town",
                "a lighthouse keeper and her dog",
                "moving out of a childhood home",
                "a bakery that opens before dawn",
                "learning to swim at sixty",
                "an old bicycle found in a shed",
            ),
        },
    ),
    Topic(
        "extraction",
        50,
        (
            'Extract sender, date and amount as JSON: "On {date} {company} invoiced us {amount} for {item}."',
            'Return JSON with company, item and total: "{company}, {item}, total {amount}, due {date}"',
            'List every date and amount: "The order of {item} at {company} of {date} came to {amount}."',
        ),
        {
            "date": ("3 March 2025", "17 June 2025", "29 August 2025", "11 November 2025"),
            "company": ("Nordlicht GmbH", "Acacia Supplies", "Blue Heron Ltd", "Tamarind & Sons"),
            "amount": ("EUR 1,240.00", "USD 389.50", "GBP 72.10", "CHF 5,600.00"),
            "item": ("twelve office chairs", "printer toner", "a coffee machine", "steel brackets"),
        },
    ),
)

MODELS = (  # made up: mean score for code, maths, translation, facts, writing, extraction
    Model("sim-small", 0.10, 0.40, 0.8, skills(0.20, 0.25, 0.40, 0.75, 0.30, 0.70)),
    Model("sim-code", 0.40, 1.60, 1.0, skills(0.93, 0.90, 0.50, 0.50, 0.45, 0.88)),
    Model("sim-words", 0.70, 2.80, 1.1, skills(0.40, 0.40, 0.93, 0.86, 0.92, 0.55)),
    Model("sim-chat", 1.20, 4.80, 1.3, skills(0.30, 0.25, 0.45, 0.45, 0.50, 0.30)),
    Model("sim-large", 5.00, 20.0, 1.1, skills(0.88, 0.85, 0.84, 0.85, 0.84, 0.86)),
)


def prompts(topic: Topic, rng: random.Random) -> list[str]:
    """Distinct prompts of a topic, evenly over its templates."""
    chosen: list[str] = []
    for position, template in enumerate(topic.templates):
        names = list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(template) if name))
        fillings = list(product(*(topic.slots[name] for name in names)))
        share = len(range(position, ROWS_PER_TOPIC, len(topic.templates)))
        for filling in rng.sample(fillings, share):
            chosen.append(template.format(**dict(zip(names, filling, strict=True))))
    return chosen


def score(model: Model, topic: Topic, hardness: float, rng: random.Random) -> float:
    """A rating in quarters, like stars; a hard prompt is hard for all models."""
    exact = model.skill[topic.name] - hardness + rng.gauss(0, 0.15)
    return round(min(max(exact, 0.0), 1.0) * 4) / 4


def cost_usd(model: Model, topic: Topic, prompt: str, length: float, rng: random.Random) -> float:
    """Price times length; answers to one prompt are long or short together."""
    prompt_tokens = max(round(len(prompt) / CHARS_PER_TOKEN), 1)
    answer_tokens = round(topic.answer_tokens * length * model.verbosity * rng.lognormvariate(0, 0.15))
    return (model.input_price * prompt_tokens + model.output_price * answer_tokens) / 1e6


def make_rows(seed: int = SEED) -> dict[str, list[str] | list[float]]:
    """The columns of the file, rows shuffled."""
    rng = random.Random(seed)
    rows = [(topic, prompt) for topic in TOPICS for prompt in prompts(topic, rng)]
    rng.shuffle(rows)
    columns: dict[str, list[str] | list[float]] = {
        "prompt": [prompt for _, prompt in rows],
        "category": [topic.name for topic, _ in rows],
    }
    hardness = [rng.gauss(0, 0.08) for _ in rows]
    lengths = [rng.lognormvariate(0, 0.3) for _ in rows]
    for model in MODELS:
        columns[f"score:{model.name}"] = [
            score(model, topic, hard, rng) for (topic, _), hard in zip(rows, hardness, strict=True)
        ]
        columns[f"cost:{model.name}"] = [
            cost_usd(model, topic, prompt, length, rng)
            for (topic, prompt), length in zip(rows, lengths, strict=True)
        ]
    return columns


def main(path: Path) -> None:
    import pyarrow  # type: ignore[import-untyped]  # pyarrow has no types
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(make_rows()), path, compression="zstd")
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO_FILE)
