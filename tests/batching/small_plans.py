"""Plans small enough to walk, for the tests of this folder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from xling.batching.plan import Plan
from xling.batching.sources import SetShare
from xling.config.schema import MixConfig

LANGUAGES = ("ar", "de", "en")


def passages(items: int, languages: int = 3, per_passage: int = 1) -> np.ndarray:
    """Complete parallel data: ``per_passage`` items ask about each passage."""
    return (np.arange(items) // per_passage)[:, None] * languages + np.arange(languages)


def make(
    passages_IL: np.ndarray,
    *,
    batch_size: int = 4,
    total_steps: int = 300,
    seed: int = 0,
    sets: Sequence[SetShare] = (),
    **mix: Any,
) -> Plan:
    return Plan(
        item_ids=[f"q{i}" for i in range(len(passages_IL))],
        languages=LANGUAGES[: passages_IL.shape[1]],
        passages_IL=passages_IL,
        mix=MixConfig(**mix),
        batch_size=batch_size,
        total_steps=total_steps,
        seed=seed,
        sets=sets,
    )


MIXES = st.sampled_from(
    [
        {"monolingual": 1.0},
        {"monolingual": 0.5},
        {"monolingual": 0.0},
        {"monolingual": 0.5, "cross_lingual_by": "example"},
        {"monolingual": 0.25, "cross_lingual": 0.25, "mixed_monolingual": 0.5, "cross_lingual_by": "example"},
        {"monolingual": 0.4, "cross_lingual": 0.2, "mixed_monolingual": 0.4, "sampling_temperature": 3.0},
        {"monolingual": {"linear": {"start": 1.0, "end": 0.0}}},
        {"monolingual": {"steps": [[0, 1.0], [0.25, 0.2]]}, "pairs": {"only": ["ar-en", "en-de"]}},
        {
            "monolingual": {"cosine": {"start": 0.0, "end": 0.7, "until": 0.4}},
            "mixed_monolingual": 0.3,
            "cross_lingual_by": "example",
            "pairs": {"pivot": "de"},
        },
    ]
)


@st.composite
def plans(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    """Passages of items that may lack languages and share passages, and the rest of a plan's arguments."""
    items = draw(st.integers(12, 40))
    present = draw(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=items, max_size=items))
    per_passage = draw(st.integers(1, 4))
    has_IL = np.asarray(present) | (np.arange(items) < 12)[:, None]  # enough of every source for a batch
    passages_IL = np.where(has_IL, passages(items, per_passage=per_passage), -1)
    batch_size = draw(st.sampled_from([2, 4, 12]))
    return passages_IL, {"batch_size": batch_size, "seed": draw(st.integers(0, 9)), **draw(MIXES)}


def uneven() -> np.ndarray:
    """60 items in ar, 30 of them in de, 10 in en."""
    passages_IL = passages(60)
    passages_IL[30:, 1] = -1
    passages_IL[10:, 2] = -1
    return passages_IL
