"""Ids of answers: each carries the id of the decision that it answers, so that it names its request.

Nothing is stored for it, and it is unique even if two providers give the same id. An answer from the cache
keeps the id that it was written with. Only a message that an arm wrote in the client's own dialect keeps its
provider's id, with its bytes.
"""

from __future__ import annotations

import re
from uuid import UUID

PREFIX = "chatcmpl-"

# As clients see it in each dialect, also with the number of an item of a response, or as a decision's own id.
_ANSWER_ID = re.compile(r"(?:chatcmpl-|cmpl-|msg_|resp_)?([0-9a-f]{32})(?:_\d{1,6})?")


def answer_id_of(decision_id: UUID) -> str:
    """The id of a Chat Completions answer; other dialects put their own prefix before it."""
    return f"{PREFIX}{decision_id.hex}"


def decision_named_by(answer_id: str) -> UUID | None:
    """The decision that an answer's id, or the decision's own id, names; None: it names none."""
    found = _ANSWER_ID.fullmatch(answer_id.replace("-", "") if _is_uuid(answer_id) else answer_id)
    return None if found is None else UUID(found[1])


def _is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None
