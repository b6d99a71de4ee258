from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import orjson
from aiohttp import web

from service.calibration.grading.comparisons import CONTAINS
from service.calibration.run import CalibrationProgress, calibrate
from tests.service.calibration.provider import COST_USD, Provider, in_turn, prompts
from tests.service.providers.scripted import answers, completion, drop, refuses


async def test_every_arm_answers_every_prompt(provider: Provider) -> None:
    provider.says("good", "It is 42.")
    provider.says("bad", "No idea.")
    arms = [provider.arm("good"), provider.arm("bad")]
    shown: list[CalibrationProgress] = []

    graded = await calibrate(
        prompts("6 * 7?", "40 + 2?", expected="42"),
        arms,
        CONTAINS,
        provider.calls(),
        on_progress=shown.append,
    )

    assert [(a.prompt.text, a.arm_id, a.score) for a in graded] == [
        ("6 * 7?", "good", 1.0),
        ("6 * 7?", "bad", 0.0),
        ("40 + 2?", "good", 1.0),
        ("40 + 2?", "bad", 0.0),
    ]
    assert {a.cost_usd for a in graded} == {COST_USD}
    assert {a.answer_text for a in graded} == {"It is 42.", "No idea."}
    assert [p.n_done for p in shown] == [1, 2, 3, 4]
    assert shown[-1].spent_usd == 4 * COST_USD


async def test_an_arm_that_fails_stops_nothing_and_has_no_score(provider: Provider) -> None:
    provider.says("good", "42")
    provider.upstream.by_model["rejecting"] = refuses(400, "no such thing")
    provider.upstream.by_model["keyless"] = refuses(401)
    provider.upstream.by_model["broken"] = drop
    provider.upstream.by_model["refusing"] = answers(
        completion("", choices=[{"index": 0, "message": {"refusal": "I may not."}, "finish_reason": "stop"}])
    )
    names = ("rejecting", "keyless", "broken", "refusing", "good")

    graded = await calibrate(
        prompts("6 * 7?", expected="42"),
        [provider.arm(name) for name in names],
        CONTAINS,
        provider.calls(),
    )

    assert [a.score for a in graded] == [None, None, None, None, 1.0]
    assert [a.problem is None for a in graded] == [False, False, False, False, True]
    assert graded[0].problem is not None
    assert "no such thing" in graded[0].problem
    assert graded[3].problem == "refused to answer"


async def test_a_rate_limit_is_waited_for_as_long_as_the_provider_asks(provider: Provider) -> None:
    provider.upstream.by_model["busy"] = in_turn(
        refuses(429, headers={"Retry-After": "17"}), answers(completion("42"))
    )

    graded = await calibrate(
        prompts("6 * 7?", expected="42"), [provider.arm("busy")], CONTAINS, provider.calls()
    )

    assert [a.score for a in graded] == [1.0]
    assert provider.waited_s == [17.0]


async def test_an_arm_that_cannot_take_a_prompt_is_not_asked(provider: Provider) -> None:
    provider.says("small", "42")
    arms = [
        provider.arm("small", context_window=10),
        provider.arm("toolless", capabilities=frozenset({"vision"})),
        provider.arm("unpromising"),
    ]
    tools = [{"type": "function", "function": {"name": "add"}}]

    graded = await calibrate(
        prompts("What is 6 * 7? " * 10, expected="42", tools=tools),
        arms,
        CONTAINS,
        provider.calls(),
        data_use=frozenset({"no_training"}),
    )

    assert [a.score for a in graded] == [None, None, None]
    assert "no_training" in str(graded[2].problem)
    assert provider.upstream.bodies == []


async def test_an_arm_whose_answers_fail_in_a_row_is_not_asked_any_more(provider: Provider) -> None:
    provider.upstream.by_model["keyless"] = refuses(401)

    graded = await calibrate(
        prompts(*(f"{i} + 1?" for i in range(40)), expected="42"),
        [provider.arm("keyless")],
        CONTAINS,
        provider.calls(concurrency=1),
    )

    assert len(graded) == 40
    assert provider.asked("keyless") == 5
    assert "in a row" in str(graded[-1].problem)


async def test_fields_of_a_request_reach_the_model(provider: Provider) -> None:
    provider.says("good", "42")

    await calibrate(
        prompts("6 * 7?", expected="42", temperature=0.5, max_tokens=7, task="math"),
        [provider.arm("good")],
        CONTAINS,
        provider.calls(),
    )

    [body] = provider.upstream.bodies
    assert (body["temperature"], body["max_tokens"]) == (0.5, 7)
    assert not {"expected", "task", "prompt"} & body.keys()


async def test_an_answer_that_the_added_limit_cut_off_is_not_graded(provider: Provider) -> None:
    cut = completion(
        "It is", choices=[{"index": 0, "message": {"content": "It is"}, "finish_reason": "length"}]
    )
    provider.upstream.by_model["long"] = answers(cut)

    added = await calibrate(
        prompts("6 * 7?", expected="42"), [provider.arm("long")], CONTAINS, provider.calls()
    )
    own = await calibrate(
        prompts("6 * 7?", expected="42", max_tokens=5), [provider.arm("long")], CONTAINS, provider.calls()
    )

    assert (added[0].score, added[0].problem) == (None, "cut off at 1000 tokens; raise --max-answer-tokens")
    assert own[0].score == 0.0


async def test_tool_calls_are_graded_as_json(provider: Provider) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    calling = completion("", choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
    provider.upstream.by_model["caller"] = answers(calling)

    graded = await calibrate(
        prompts("1 + 1?", expected="add"), [provider.arm("caller")], CONTAINS, provider.calls()
    )

    assert graded[0].answer_text == '[{"name":"add","arguments":{"a":1}}]'


async def test_dollars_that_nobody_knows_are_unknown_but_count_for_the_cap(provider: Provider) -> None:
    provider.says("unpriced", "42")
    calls = provider.calls()

    graded = await calibrate(
        prompts("6 * 7?", expected="42"), [provider.arm("unpriced", price=None)], CONTAINS, calls
    )

    assert graded[0].cost_usd is None
    assert graded[0].score == 1.0
    assert calls.cap.spent_usd == Decimal("0.003")  # at the price that is assumed of an arm


async def test_a_judge_or_an_arm_gets_a_limit_in_the_words_of_its_server(provider: Provider) -> None:
    async def new_words_only(request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        if "max_tokens" in body:
            wanted = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens'."
            refusal = refuses(400, wanted, param="max_tokens", code="unsupported_parameter")
            return await refusal(request)
        return await answers(completion("42"))(request)

    provider.upstream.script = new_words_only

    graded = await calibrate(
        prompts("6 * 7?", expected="42"), [provider.arm("o-new")], CONTAINS, provider.calls()
    )

    assert graded[0].score == 1.0
    assert provider.upstream.bodies[-1]["max_completion_tokens"] == 1000


async def test_each_provider_gets_as_many_calls_at_a_time_as_told(provider: Provider) -> None:
    here, elsewhere = provider.upstream.base_url, provider.upstream.base_url.replace("127.0.0.1", "localhost")
    arms = [provider.arm("a", base_url=f"{here}/v1"), provider.arm("b", base_url=f"{here}/v2")]
    arms.append(provider.arm("c", base_url=f"{elsewhere}/v1"))
    under_way, most = Counter[str](), Counter[str]()
    is_full = asyncio.Event()

    async def answer_together(request: web.Request) -> web.StreamResponse:
        """Answer when there are as many calls as there may be."""
        under_way[request.host] += 1
        most[request.host] = max(most[request.host], under_way[request.host])
        if under_way.total() == 6:
            is_full.set()
        await is_full.wait()
        under_way[request.host] -= 1
        return await answers(completion("42"))(request)

    provider.upstream.script = answer_together

    graded = await calibrate(
        prompts(*(f"{i} + 1?" for i in range(10)), expected="42"),
        arms,
        CONTAINS,
        provider.calls(concurrency=3),
    )

    assert {a.score for a in graded} == {1.0}
    assert sorted(most.values()) == [3, 3]
