"""The grader that asks a model: how good an answer is, or which of two is better."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import orjson

from service.calibration.grading.families import family_of
from service.calibration.grading.grader import Ask, NotGraded
from service.calibration.grading.rubrics import PAIR, SINGLE
from service.calibration.prompts import CalibrationPrompt
from service.conversations.answer_names import text_of
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.tokens import BYTES_PER_TOKEN

MAX_JUDGEMENT_TOKENS = 4096  # a judge may think before it answers
USUAL_JUDGEMENT_TOKENS = 200
USUAL_ANSWER_BYTES = 1200

_SCORE = re.compile(r"score:\s*(\d{1,2}(?:\.\d+)?)\s*(?:/\s*10)?\.?", re.IGNORECASE)
_BETTER = re.compile(r"better:\s*(1|2|equal)\.?", re.IGNORECASE)
_SHARE = {"1": 1.0, "2": 0.0, "equal": 0.5}  # of the first answer of a pair


@dataclass(frozen=True, slots=True)
class Judge:
    """Asks the first judge that is not of the answer's own family.

    Args:
        judges: the models that may be asked, best first.
        rubric: what makes an answer good, in words.
        baseline: the arm whose answers others are compared with, in both orders; None: each answer is scored
            alone.
        judges_own_family: whether a judge may judge its own family.
    """

    judges: Sequence[Arm]
    rubric: str
    baseline: Arm | None = None
    judges_own_family: bool = False

    def reason_against(self, prompt: CalibrationPrompt) -> str | None:
        return None

    def reason_against_arm(self, arm: Arm) -> str | None:
        if self._is_baseline(arm) or self._judge_of(arm) is not None:
            return None
        names = ", ".join(judge.arm_id for judge in self.judges)
        also = "" if self.baseline is None else f", or of that of {self.baseline.arm_id}"
        return f"not asked: {names} would judge a model of its own family{also}"

    def expected_usd(self, prompt: CalibrationPrompt, arm: Arm) -> Decimal:
        judge = self._judge_of(arm)
        if judge is None or self._is_baseline(arm):
            return Decimal(0)
        usual = "x" * USUAL_ANSWER_BYTES
        bodies = self._requests(prompt, usual, None if self.baseline is None else usual)
        n_prompt = sum(len(orjson.dumps(body)) for body in bodies) // BYTES_PER_TOKEN
        n_answer = USUAL_JUDGEMENT_TOKENS * len(bodies)
        price = judge.expected_price
        return (n_prompt * price.input + n_answer * price.output).scaleb(-6)

    async def grade(self, prompt: CalibrationPrompt, arm: Arm, answer: str, ask: Ask) -> float:
        if self._is_baseline(arm):
            return 0.5
        if (judge := self._judge_of(arm)) is None:
            raise NotGraded(str(self.reason_against_arm(arm)))
        other = None if self.baseline is None else await _answered(ask, self.baseline, prompt.body)
        judgements = [await _answered(ask, judge, body) for body in self._requests(prompt, answer, other)]
        if other is None:
            return _score(judgements[0], judge)
        first, second = (_share(judgement, judge) for judgement in judgements)
        return (first + 1 - second) / 2

    def _is_baseline(self, arm: Arm) -> bool:
        return self.baseline is not None and arm.arm_id == self.baseline.arm_id

    def _judge_of(self, arm: Arm) -> Arm | None:
        if self.judges_own_family:
            return self.judges[0]
        families = {family_of(each) for each in (arm, self.baseline) if each is not None}
        return next((judge for judge in self.judges if family_of(judge) not in families), None)

    def _requests(self, prompt: CalibrationPrompt, answer: str, other: str | None) -> list[Json]:
        """What the judge is asked: about one answer, or about two in both orders."""
        if other is None:
            return [self._request(SINGLE, prompt, {"answer": answer})]
        return [
            self._request(PAIR, prompt, {"answer-1": first, "answer-2": second})
            for first, second in ((answer, other), (other, answer))
        ]

    def _request(self, task: str, prompt: CalibrationPrompt, answers: dict[str, str]) -> Json:
        material = {"request": _as_text(prompt.body)}
        if prompt.expected is not None:
            material["reference"] = _plain(prompt.expected)
        material |= answers
        # Nobody who wrote the material can have closed a tag with this mark.
        mark = hashlib.sha256(orjson.dumps([*material.values()])).hexdigest()[:8]
        tagged = [f"<{name} {mark}>\n{text}\n</{name} {mark}>" for name, text in material.items()]
        content = task.format(rubric=self.rubric.strip(), material="\n\n".join(tagged), mark=mark)
        messages = [{"role": "user", "content": content}]
        return {"messages": messages, "max_tokens": MAX_JUDGEMENT_TOKENS}


async def _answered(ask: Ask, arm: Arm, body: Json) -> str:
    reply = await ask(arm, body)
    if reply.text is None:
        raise NotGraded(f"{arm.arm_id}: {reply.problem}")
    return reply.text


def _score(judgement: str, judge: Arm) -> float:
    found = _SCORE.fullmatch(_last_line(judgement))
    if found is None or float(found[1]) > 10:
        raise NotGraded(f"{judge.arm_id} did not end with a score from 0 to 10")
    return float(found[1]) / 10


def _share(judgement: str, judge: Arm) -> float:
    found = _BETTER.fullmatch(_last_line(judgement))
    if found is None:
        raise NotGraded(f"{judge.arm_id} did not end with the better answer: 1, 2 or equal")
    return _SHARE[found[1].lower()]


def _last_line(text: str) -> str:
    """The last line that is not empty, without emphasis."""
    lines = [line.strip(" \t*_`#") for line in text.splitlines()]
    return next((line.replace("*", "").strip() for line in reversed(lines) if line), "")


def _as_text(body: Json) -> str:
    """The request as the judge reads it: its messages after their roles, and its tools."""
    messages = body["messages"]
    if len(messages) == 1:
        texts = [text_of(messages[0])]
    else:
        texts = [f"{m['role']}: {text_of(m) or _plain(m.get('tool_calls'))}" for m in messages]
    texts += [f"{name}: {_plain(body[name])}" for name in ("tools", "response_format") if body.get(name)]
    return "\n\n".join(texts)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
