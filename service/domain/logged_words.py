"""The keys of logged explanations: what earlier versions called them, and what this one does."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.basics import Json

# Keys that version 0.1.0 logged, with their current names; in the explanation itself and in its parts.
_RENAMED = {
    "opinion_weights": "expert_weights",
    "difficulty": "ease",
    "neighbour_difficulties": "neighbour_ease",
    "session": "conversation",
}
_RENAMED_OF_CANDIDATE = {"standing": "prior_state"}
_RENAMED_OF_CONVERSATION = {
    "n_foreign": "n_messages_of_other_vendors",
    "held_arm_id": "previous_arm_id",
    "margin": "switch_margin",
    "cache_price": "cache_loss",
}


def in_current_words(logged: Json) -> Json:
    """Rename the keys of an explanation logged by any version to those of this version."""
    current = renamed(logged, _RENAMED)
    current["candidates"] = [in_current_words_of_candidate(c) for c in current["candidates"]]
    if current.get("conversation"):
        current["conversation"] = in_current_words_of_conversation(current["conversation"])
    return current


def in_current_words_of_candidate(logged: Json) -> Json:
    """Rename the keys of one candidate of an explanation."""
    return renamed(logged, _RENAMED_OF_CANDIDATE)


def in_current_words_of_conversation(logged: Json) -> Json:
    """Rename the keys of the conversation in an explanation, or in a spooled decision or outcome."""
    return renamed(logged, _RENAMED_OF_CONVERSATION)


def renamed(data: Json, names: Mapping[str, str]) -> Json:
    """The data under other keys."""
    return {names.get(key, key): value for key, value in data.items()}
