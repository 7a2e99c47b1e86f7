"""Small retrieval sets, vectors with many ties, and trec_eval's view of the run files written for them."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytrec_eval

from xling.data.records import Passage, Query, RetrievalSet, sorted_passages
from xling.evaluate.layout import Layout, build_layout
from xling.evaluate.result import EvaluationResult, build_result
from xling.evaluate.scoring import RunRequest, score_language
from xling.storage import Storage

LANGUAGES = ("de", "en", "ru")
ENTITIES = ("seen", "unseen")


@dataclass(frozen=True)
class ToyTokens:
    queries: dict[str, list[np.ndarray]]
    passages: dict[str, list[np.ndarray]]


def toy_set(
    seed: int,
    *,
    languages: Sequence[str] = LANGUAGES,
    queries: int = 6,
    passages: int = 15,
    grades: int = 3,
    cross_lingual: bool = True,
    strata: bool = True,
) -> RetrievalSet:
    """Every query is judged on one to three passages of some of the languages, on others with grade 0."""
    rng = np.random.default_rng(seed)
    candidates = {
        language: sorted_passages(
            [Passage(f"{number}-{language}", language, f"text {number}") for number in range(passages)]
        )
        for language in languages
    }
    asked = {
        language: [
            Query(
                f"q{number}-{language}",
                language,
                f"question {number}",
                {"entity": ENTITIES[number % 2], "wording": ENTITIES[number % 3 == 0]} if strata else {},
            )
            for number in range(queries)
        ]
        for language in languages
    }
    qrels: dict[str, dict[str, int]] = {}
    for language in languages:
        for query in asked[language]:
            targets = [language, *(other for other in languages if other != language and rng.random() < 0.7)]
            row = {}
            for target in targets if cross_lingual else [language]:
                for number in rng.choice(passages, size=int(rng.integers(1, 4)), replace=False):
                    row[f"{number}-{target}"] = int(rng.integers(0, grades + 1)) if rng.random() < 0.3 else 1
            qrels[query.id] = row
    return RetrievalSet("toy", tuple(languages), asked, candidates, qrels, "c0ffee", cross_lingual=cross_lingual)


def tied_vectors(layout: Layout, seed: int, dimension: int = 3) -> np.ndarray:
    """Vectors of small whole numbers, whose products are exact and often equal."""
    shape = (layout.query_count + len(layout.passage_ids), dimension)
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float32)


def toy_tokens(retrieval: RetrievalSet, seed: int, vocabulary: int = 50) -> ToyTokens:
    rng = np.random.default_rng(seed)

    def texts(count: int) -> list[np.ndarray]:
        return [rng.integers(5, vocabulary, int(rng.integers(3, 17))).astype(np.int32) for _ in range(count)]

    return ToyTokens(
        {language: texts(len(retrieval.queries[language])) for language in retrieval.languages},
        {language: texts(len(retrieval.passages[language])) for language in retrieval.languages},
    )


def score_vectors(retrieval: RetrievalSet, vectors_XD: np.ndarray, runs: RunRequest | None = None) -> EvaluationResult:
    layout = build_layout(retrieval)
    scores = [score_language(layout, language, vectors_XD, runs) for language in range(len(layout.languages))]
    return build_result(retrieval, layout, scores)


def trec_eval(folder: Path, name: str) -> dict[str, dict[str, float]]:
    """Our measures' values by query id, as pytrec_eval computes them from the files ``name.*``."""
    with (folder / f"{name}.qrels").open() as file:
        qrels = pytrec_eval.parse_qrel(file)
    with gzip.open(folder / f"{name}.run.gz", "rt") as file:
        run = pytrec_eval.parse_run(file)
    wanted = {"map", "recip_rank", "ndcg_cut.10", "recall.1,10,100"}
    values = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
    return {
        query: {
            "mAP": found["map"],
            "MRR@10": found["recip_rank"] if found["recip_rank"] > 0.0999 else 0.0,
            "nDCG@10": found["ndcg_cut_10"],
            "R@1": found["recall_1"],
            "R@10": found["recall_10"],
            "R@100": found["recall_100"],
        }
        for query, found in values.items()
    }


def assert_equals_trec_eval(result: EvaluationResult, folder: Path) -> int:
    """Every measure of every query and target equals pytrec_eval's to 1e-6. Returns the values compared."""
    rows: dict[str, dict[str, dict]] = {}
    for row in result.per_query.to_pylist():
        target = "pool" if row["passage_language"] == "*" else row["passage_language"]
        rows.setdefault(f"{row['query_language']}-{target}", {})[row["query"]] = row
    compared = 0
    for name, ours in rows.items():
        theirs = trec_eval(folder, name)
        assert set(theirs) == set(ours), name
        for query, values in theirs.items():
            for measure, value in values.items():
                assert abs(ours[query][measure] - value) <= 1e-6, (name, query, measure, ours[query][measure], value)
                compared += 1
    return compared


def runs_in(folder: Path, depth: int) -> RunRequest:
    return RunRequest(Storage(str(folder)).url, depth)
