# ruff: noqa: RUF001  # people write with their own punctuation
"""Which turns say that an answer did not work, and what the service learns from them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.domain.basics import Json
from service.learning.complaints import MAX_CHARS, is_complaint
from tests.service.world import World, opened

COMPLAINTS = """
that did not work, try again
That did not work.
This doesn't work at all
it didn’t work
It does not compile.
Your code doesn't run
the solution did not help
wrong
Wrong, the answer is 42.
wrong again!
Incorrect.
That's wrong. It should be a list.
No, that is not right
no, you are wrong
Nope, still failing
still failing
Still not working
It's still broken
still the same error
Still get the same error
Same error again
same problem
hmm, that is incorrect
Thanks, but that did not work for me
ok I tried it, still crashes
I tried that - it still fails
Sorry, but this is not what I asked for
not what I asked for
That isn't correct
Your answer is completely wrong
try again
Please try again
You got it wrong
It is still not right: the total is 7
Das funktioniert nicht
Das funktioniert leider nicht.
funktioniert immer noch nicht
Nein, das ist falsch
Falsch.
Leider, das hat nicht geklappt
Immer noch der gleiche Fehler
Versuche es noch einmal
Das stimmt nicht
Ça ne marche pas
ça marche toujours pas
Non, c'est faux
La même erreur
Réessaie
Eso no funciona
Sigue fallando
No, está mal
El mismo error
Inténtalo de nuevo
Questo non funziona
È sbagliato
Riprova
Isso não funcionou
Não deu certo
errado
Tente novamente
Dat werkt niet
Nog steeds dezelfde fout
Nie działa
Spróbuj ponownie
Это не работает
Нет, неправильно
Попробуй ещё раз
还是不行
不对，应该是三
你错了
再试一次
まだ動きません
同じエラーです
もう一度試してください
안 돼요
틀렸어요
""".strip().splitlines()
INNOCENT = """
Why does it say "still failing" in my build log?
What does the message "that did not work" mean?
"Wrong" is the title of a song by whom?
Translate into German: that did not work
Did that not work?
Does it still fail?
Is that wrong?
What is wrong with this sentence?
That did not work in 1930 because the currency was pegged to gold.
It is wrong to steal, says Kant. Explain.
Still life paintings: name three painters
Try again is a game mechanic; which games use it?
Explain what went wrong at Chernobyl
My printer does not work
The old boiler did not work last winter, what should I ask the plumber?
My test still fails with: AssertionError: 1 != 2
I get the error "No module named numpy"
Error: that did not work
How do I retry a request until it does not fail?
The code runs, thank you
It works now, thanks
That worked, now add a test
Yes, that is right
No problem, go on
No, use a list instead of a tuple
no
ok
Sorry, I meant Tuesday
Incorrect answers get how many points in this exam?
Wrong answers only: what is the capital of France?
Same error handling as in the other file, please
Same problem but with five apples
This does not work with Python 3.8, does it matter?
That is not right-aligned yet, can you align it?
Your answer is great
Try again with shorter sentences
Please try it with oat milk
still
it is still raining in my story, continue
You are wrong about nothing, great work
Write an email that says that the fix did not work
Fix the wrong indentation in this file
Das funktioniert nicht ohne Strom, oder?
Was bedeutet "funktioniert nicht" auf Englisch?
Falsch oder richtig: die Erde ist rund
Es geht nicht um Geld in dem Roman
Warum geht das nicht?
C'est faux que la Terre est plate ?
Pourquoi ça ne marche pas sous Windows ?
¿Por qué no funciona el motor de combustión sin aire?
Traduce: no funciona
Perché non funziona il motore?
Por que não funciona sem chave?
Почему это не работает?
为什么不行？
なぜ動きませんか？
continue
Now in Spanish
Thanks!
""".strip().splitlines()


def test_there_are_enough_examples() -> None:
    assert len(COMPLAINTS) + len(INNOCENT) >= 120


@pytest.mark.parametrize("text", COMPLAINTS)
def test_a_turn_that_says_that_the_answer_did_not_work_is_a_complaint(text: str) -> None:
    assert is_complaint(text)
    assert is_complaint(f"  {text.upper()}\n")


@pytest.mark.parametrize("text", INNOCENT)
def test_a_turn_that_only_looks_like_one_is_no_complaint(text: str) -> None:
    assert not is_complaint(text)


def test_a_long_turn_describes_something_new() -> None:
    assert not is_complaint("That did not work. " + "x" * MAX_CHARS)


# --- in a conversation


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as world:
        yield world


async def said(world: World, request_id: str, *texts: str, **body: Any) -> httpx.Response:
    """A conversation, in which users and assistants speak in turns."""
    messages = [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)]
    response = await world.http.post(
        "/v1/chat/completions",
        json={"messages": messages, **body},
        headers={"X-Request-ID": request_id},
    )
    await world.background.drain(5.0)
    return response


async def signals(world: World, request_id: str) -> list[Json]:
    found: list[Json] = (await world.record(request_id))["signals"]
    return found


def answer_of(response: httpx.Response) -> str:
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


async def test_a_complaint_counts_against_the_arm_that_answered_before(world: World) -> None:
    first = await said(world, "r1", "How do I sort a list?")
    world.clock.advance(300)
    await said(world, "r2", "How do I sort a list?", answer_of(first), "That did not work, try again")

    (signal,) = await signals(world, "r1")
    assert (signal["signal"], signal["weight"]) == ("complaint", 0.05)
    assert signal["model"] == first.headers["x-router-model"]
    assert await signals(world, "r2") == []


async def test_a_complaint_is_found_by_the_session_id_too(world: World) -> None:
    session = {"router": {"session_id": "s1"}}
    await said(world, "r1", "How do I sort a list?", **session)
    await said(world, "r2", "still failing", **session)
    await said(world, "r3", "still failing", router={"session_id": "s2"})

    assert [signal["signal"] for signal in await signals(world, "r1")] == ["complaint"]
    assert await signals(world, "r2") == []


async def test_another_conversation_a_new_question_and_a_late_turn_are_no_complaints(world: World) -> None:
    first = answer_of(await said(world, "r1", "How do I sort a list?"))
    await said(world, "r2", "How do I sort a list?", "An answer of another server.", "That did not work")
    await said(world, "r3", "How do I sort a list?", first, "What does 'still failing' mean?")
    world.clock.advance(3_601)
    await said(world, "r4", "How do I sort a list?", first, "That did not work")

    assert await signals(world, "r1") == []


async def test_a_question_that_is_repeated_counts_once(world: World) -> None:
    session = {"router": {"session_id": "s1"}}
    await said(world, "r1", "still not working", **session)
    await said(world, "r2", "still not working", **session)

    assert [signal["signal"] for signal in await signals(world, "r1")] == ["reask"]


async def test_a_request_that_nothing_is_learned_from_complains_of_nothing(world: World) -> None:
    first = answer_of(await said(world, "r1", "How do I sort a list?"))
    await said(world, "r2", "How do I sort a list?", first, "wrong", router={"learn": False})

    assert await signals(world, "r1") == []


async def test_complaints_can_be_switched_off(tmp_path: Path) -> None:
    async with opened(tmp_path, signal_complaint_weight=0) as world:
        first = answer_of(await said(world, "r1", "How do I sort a list?"))
        await said(world, "r2", "How do I sort a list?", first, "wrong")

        assert await signals(world, "r1") == []
