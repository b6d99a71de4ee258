"""Prompts: rated decisions on one context, as far as different arms answered it.

A prompt is one context, with one outcome of each arm that answered it. If an arm answered the same context
several times, the context was asked several times: each arm's newest outcome belongs to the first of these
prompts, its second newest to the next. So the outcomes of a calibration are one prompt whatever the number of
arms, a question of many clients still teaches as often as it was asked, and n prompts have at most n outcomes
of any arm.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from service.domain.basics import Vector

Ints = npt.NDArray[np.int64]


def context_key(context: Vector) -> int:
    """63 bits of a digest: equal contexts have equal keys, and different ones different keys."""
    digest = blake2b((context + 0.0).astype("<f4").tobytes(), digest_size=8).digest()  # + 0: -0 becomes 0
    return int.from_bytes(digest) >> 1


def by_prompt(rank: Ints, arm: Ints, decided_at: Ints, key: Ints) -> tuple[Ints, Ints]:
    """Order outcomes by their prompts, and number the prompts from 0; every array has shape (k,).

    Args:
        rank: of the outcome's context by similarity, from 0; every rank has an outcome.
        arm: number of the arm that answered.
        decided_at: later ones first.
        key: of the decision; it orders what was decided at the same time.

    Returns:
        order: indices of the outcomes, nearest prompt first.
        prompt: number of the prompt of each, in that order.
    """
    if rank.max(initial=-1) + 1 == rank.size:  # one outcome of each context, as in most recalls
        return rank.argsort(), np.arange(rank.size)
    newest_first = np.lexsort((key, -decided_at, arm, rank))
    rank, arm = rank[newest_first], arm[newest_first]
    position = np.arange(rank.size)
    is_first = np.ones(rank.size, dtype=np.bool_)
    is_first[1:] = (rank[1:] != rank[:-1]) | (arm[1:] != arm[:-1])
    asking = position - np.maximum.accumulate(np.where(is_first, position, 0))
    n_askings = np.zeros(rank[-1] + 1, dtype=np.int64)
    np.maximum.at(n_askings, rank, asking + 1)
    prompt = (n_askings.cumsum() - n_askings)[rank] + asking
    order = prompt.argsort(kind="stable")
    return newest_first[order], prompt[order]
