import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xling.errors import ResourceError
from xling.evaluate.search.memory_plan import KEY_BYTES, MemoryPlan, plan_memory

MIB = 2**20


def need(plan: MemoryPlan, *, unit_bytes: int, queries: int, dimension: int, depth: int, lists: int) -> int:
    """What a plan takes, as its docstring counts it."""
    a_query = depth * KEY_BYTES * (10 * plan.tasks + lists + 4)
    return 8 * queries * dimension + plan.tasks * (unit_bytes + 2 * plan.block_bytes) + plan.queries * a_query


@given(
    st.integers(2, 2**16),
    st.integers(0, 2000),
    st.integers(1, 30_000),
    st.sampled_from([64, 384, 1024]),
    st.sampled_from([10, 1000]),
    st.integers(1, 18),
    st.integers(1, 64),
)
def test_a_plan_stays_within_the_budget_and_the_refusal_names_one_that_will_do(
    budget: int, unit: int, queries: int, dimension: int, depth: int, lists: int, tasks: int
) -> None:
    given_ = {"unit_bytes": unit * MIB, "queries": queries, "dimension": dimension, "depth": depth, "lists": lists}
    try:
        plan = plan_memory(budget * MIB, **given_, tasks=tasks, unit="one shard")
    except ResourceError:
        plan = None
    if plan is None:
        with pytest.raises(ResourceError, match=r"`evaluation.memory_budget` is .* for one shard") as refusal:
            plan_memory(budget * MIB, **given_, tasks=tasks, unit="one shard")
        enough = int(re.search(r"at least (\d+)MiB", str(refusal.value))[1]) * MIB
        assert enough > budget * MIB
        plan = plan_memory(enough, **given_, tasks=tasks, unit="one shard")
        budget = enough / MIB
    assert 1 <= plan.tasks <= tasks
    assert min(queries, 16) <= plan.queries <= queries
    assert need(plan, **given_) <= budget * MIB


def test_more_memory_gives_more_tasks_and_then_more_queries_at_a_time() -> None:
    given_ = {"unit_bytes": 50 * MIB, "queries": 10_000, "dimension": 384, "depth": 1000, "lists": 1}
    plans = [plan_memory(size * MIB, **given_, tasks=8, unit="one shard") for size in (128, 512, 4096, 65_536)]
    assert [plan.tasks for plan in plans] == sorted(plan.tasks for plan in plans)
    assert plans[0].tasks < plans[-1].tasks == 8
    assert plans[-1].queries == 10_000
