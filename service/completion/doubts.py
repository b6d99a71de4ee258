"""Answers of a model that doubts itself: it says so, or its tokens were improbable; pure."""

from __future__ import annotations

from service.completion.model_call import ModelCall
from service.domain.weakness import Doubt

SHORT_ANSWER_CHARS = 200  # a longer answer that begins with a doubt usually answers after all
# How answers begin whose model does not know, in small letters and with straight apostrophes.
OPENINGS = (
    *("i don't know", "i do not know", "i'm not sure", "i am not sure", "i have no idea", "i'm not certain"),
    *("i don't have enough information", "i do not have enough information", "i'm unsure", "i am unsure"),
    *("ich weiß nicht", "ich weiß es nicht", "das weiß ich nicht", "ich bin mir nicht sicher"),
    *("ich bin nicht sicher", "keine ahnung", "ich habe keine ahnung"),
    *("je ne sais pas", "je n'en sais rien", "je ne suis pas sûr", "je n'ai aucune idée", "aucune idée"),
    *("no lo sé", "no sé", "no estoy seguro", "no estoy segura", "no tengo idea", "no tengo ni idea"),
    *("não sei", "eu não sei", "não tenho certeza", "não faço ideia"),
    *("non lo so", "non so", "non sono sicuro", "non sono sicura", "non ne ho idea"),
    *("ik weet het niet", "ik weet niet", "geen idee", "ik ben niet zeker"),
    *("nie wiem", "nie jestem pewien", "nie jestem pewna"),
    *("я не знаю", "не знаю", "я не уверен", "не уверен", "понятия не имею"),
    *("bilmiyorum", "emin değilim"),
    *("我不知道", "不知道", "我不清楚", "我不确定", "不确定", "我不太清楚"),
    *("わかりません", "分かりません", "知りません", "わからない", "よくわかりません"),
    *("모르겠습니다", "잘 모르겠습니다", "잘 모르겠어요", "모르겠어요", "모릅니다"),
    *("لا أعرف", "لا أعلم", "لست متأكد"),
    *("मुझे नहीं पता", "मुझे नहीं मालूम", "मैं नहीं जानता", "मैं नहीं जानती"),
)
# What stands before them.
POLITE = (
    *("i'm sorry", "i am sorry", "sorry", "unfortunately", "well", "hmm", "honestly"),
    *("es tut mir leid", "tut mir leid", "leider", "je suis désolé", "désolé", "lo siento", "desculpe"),
    *("mi dispiace", "spiacente", "извините", "к сожалению", "很抱歉", "抱歉", "对不起"),
    *("申し訳ありませんが", "申し訳ありません", "すみませんが", "죄송합니다", "죄송하지만"),
)
PUNCTUATION = " ,.;:!?\n\t-…，。、！\"'«»“”*_"  # noqa: RUF001  # other languages' punctuation


def doubt_of(call: ModelCall, min_token_probability: float | None) -> Doubt | None:
    """The doubt that a whole answer shows; None: none.

    Args:
        min_token_probability: a mean probability of tokens below this is a doubt; None: none is.
    """
    if call.has_other_content:
        return None
    if is_unsure(call.text):
        return "unsure"
    mean = call.mean_token_probability
    if min_token_probability is None or mean is None:
        return None
    return "improbable" if mean < min_token_probability else None


def is_unsure(text: str) -> bool:
    """Whether an answer says only that its model does not know."""
    if len(text) > SHORT_ANSWER_CHARS:
        return False
    start = text.lower().replace("\u2019", "'").lstrip(PUNCTUATION)
    polite = next((words for words in POLITE if start.startswith(words)), "")
    start = start.removeprefix(polite).lstrip(PUNCTUATION).removeprefix("but ")
    return any(_begins_with(start, opening) for opening in OPENINGS)


def _begins_with(text: str, opening: str) -> bool:
    """Whether a text begins with whole words; scripts without spaces have none."""
    after = text.removeprefix(opening)[:1]
    return text.startswith(opening) and not (after.isascii() and after.isalnum())
