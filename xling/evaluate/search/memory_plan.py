"""What an evaluation by shards may hold in memory at once.

Shapes: Q queries, B queries of a block, N passages of a shard, D embedding, K depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from xling.errors import ResourceError
from xling.sizes import size_text

KEY_BYTES = 8
SCORE_BLOCK = 16 * 2**20  # bytes of scores at once; more is no faster
_LEAST_BLOCK = 2**20
_LEAST_QUERIES = 16


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """``tasks`` search at once, each with ``block_bytes`` of scores, for ``queries`` at a time."""

    tasks: int
    block_bytes: int
    queries: int


def plan_memory(
    budget: int, *, unit_bytes: int, queries: int, dimension: int, depth: int, lists: int, tasks: int, unit: str
) -> MemoryPlan:
    """The most tasks that the budget has room for, and how many queries it has room for at a time.

    A task holds its unit (a shard, or an index while it is built), a block of scores with the mask
    and the entries that come of it, and its lists, ten times while they are cut: as they are, what
    waits to enter (up to twice their length), both together and sorted apart. The
    driver holds all query vectors, for the queries of the time one list a language that the pool
    is merged from, a task's that comes in and the two that are being merged. Where not all
    queries fit, the passages are read once for each part of them.

    Args:
        unit_bytes: what a task needs for what it searches, ``unit`` in words.
        lists: languages whose lists are held until the pool is merged; 1 without a pool.

    Raises:
        ResourceError: the budget has no room for a single task with a few queries.
    """
    vectors = 2 * queries * dimension * 4  # in the driver, and as the tasks share them
    least = min(queries, _LEAST_QUERIES)
    need = 0
    for many in range(tasks, 0, -1):
        for block in (SCORE_BLOCK, SCORE_BLOCK // 8, _LEAST_BLOCK):
            a_query = depth * KEY_BYTES * (10 * many + lists + 4)
            need = vectors + many * (unit_bytes + 2 * block) + least * a_query
            if need <= budget:
                room = (budget - need) // a_query + least
                return MemoryPlan(many, block, min(queries, room))
    raise ResourceError(
        f"`evaluation.memory_budget` is {size_text(budget)}, must be at least {math.ceil(need / 2**20)}MiB for {unit}"
        f" ({size_text(unit_bytes)}), {queries:,} query vectors and lists of {depth:,}; raise it"
    )
