"""The nearest passages of a few queries, to be looked at: encoded here, in this process.

Shapes: Q queries, N passages, D embedding, K depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xling.config.schema import EvaluationConfig
from xling.data.records import RetrievalSet
from xling.evaluate.encode import FlatTokens, TextTokens, encode
from xling.evaluate.nearest import nearest
from xling.languages import LangPair

if TYPE_CHECKING:
    from xling.model.source import LoadedModel


def nearest_passages(
    loaded: LoadedModel,
    retrieval: RetrievalSet,
    tokens: TextTokens,
    queries: Sequence[str],
    pair: LangPair,
    depth: int,
    settings: EvaluationConfig,
) -> dict[str, list[str]]:
    """The ids of the nearest passages of a language, best first, by query; ties as trec_eval has them.

    Args:
        tokens: of the set's texts, by the model's tokenizer and settings.
        queries: ids of queries of the pair's query language.
        depth: K, at most.
    """
    places = {query.id: place for place, query in enumerate(retrieval.queries[pair.query])}
    passages = retrieval.passages[pair.passage]
    own, candidates = tokens.queries[pair.query], tokens.passages[pair.passage]
    texts = [own[places[query]] for query in queries] + [candidates[place] for place in range(len(passages))]
    vectors_XD = encode(
        loaded.encoder,
        FlatTokens.of(texts),
        batch_size=settings.batch_size,
        batch_tokens=settings.batch_tokens,
        pad_id=int(loaded.tokenizer.pad_token_id),
    )
    scores_QN = vectors_XD[: len(queries)] @ vectors_XD[len(queries) :].T
    order_QK = nearest(scores_QN, np.arange(len(passages)), depth)  # passages are sorted as ties are broken
    return {query: [passages[place].id for place in row] for query, row in zip(queries, order_QK.tolist(), strict=True)}
