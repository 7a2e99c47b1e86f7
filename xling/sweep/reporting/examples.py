"""Examples for a report: queries that a hybrid mends and breaks, held against monolingual batches alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from xling.data.corpus import Corpus
from xling.data.records import Passage, RetrievalSet
from xling.errors import ConfigError
from xling.evaluate.changes import Change, PairChanges, changed_pairs
from xling.evaluate.result import EvaluationResult
from xling.languages import LangPair
from xling.report.blocks import Block, Example, Examples, Quote, Section
from xling.report.rows import ScoreRow, chosen_on_dev
from xling.report.tables import number
from xling.sweep.outcome.gather import Gathered, Scored
from xling.sweep.reporting.scores import is_monolingual_like

SHOWN = 3  # queries of a pair, each way
MOST_PASSAGES = 20_000  # of a language, that are encoded again to be ranked
_RANKED = 3  # passages of each system


def example_section(gathered: Gathered, ranked: int = 0) -> Section:
    """For each data set the pair of languages that gains most by mixing, and the one that gains least.

    Args:
        ranked: of how many queries each way both cells encode again and rank the passages; else ranks alone are shown.

    Raises:
        ConfigError: passages are to be ranked, and there are too many.
    """
    blocks: list[Block] = []
    says: list[str] = []
    for dataset in gathered.datasets:
        found, said = _of_set(gathered, dataset, ranked)
        blocks += found
        says.append(gathered.in_sets(said, dataset))
    return Section("examples", "Examples", tuple(says), tuple(blocks))


def _of_set(gathered: Gathered, dataset: str, ranked: int) -> tuple[list[Examples], str]:
    scored = gathered.scored_on(dataset)
    best = _best_hybrid(gathered.rows_on(dataset))
    if best is None:
        return [], "No cell between all cross-lingual and all monolingual batches is done and measured on dev."
    hybrid = next(one for one in scored if one.job.label == best.label)
    rival = next((one for one in scored if is_monolingual_like(one.job, hybrid.job)), None)
    if rival is None:
        return [], f"No cell of alpha 1 with the size and seed of {best.label} is done to hold it against."
    retrieval = gathered.study.retrievals.get(hybrid.evaluation.fingerprint)
    if retrieval is None:
        return [], f"The texts of {dataset} cannot be loaded here, so that no example can be shown."
    if retrieval.answers:
        return [], f"{dataset} is judged by answers: which passage holds one is not kept."
    lead = hybrid.result.measures[0]
    before, after = (_per_query(gathered, one) for one in (rival, hybrid))
    blocks = []
    for changes in changed_pairs(before, after, lead, ranked or SHOWN):
        if changes.mended or changes.broken:
            title = f"{changes.pair}: {lead} {changes.mean:+.3f} by mixing, mean over queries"
            name = f"{dataset}-examples-{changes.pair}"
            items = _examples(gathered, retrieval, changes, lead, (rival, hybrid), ranked > 0)
            blocks.append(Examples(name, gathered.in_sets(title, dataset), tuple(items)))
    said = (
        f"{hybrid.job.label} (the best on dev of those that mix) against {rival.job.label} (monolingual batches): the "
        f"pair of languages whose {lead} gains most by mixing, and the one that gains least; in each the queries that "
        "changed most. They are picked for being extreme, and show what changes, not how often."
    )
    return (
        blocks,
        said if ranked else f"{said} Their passages are ranked by: xling report {gathered.sweep} --examples N.",
    )


def _best_hybrid(of_set: Sequence[ScoreRow]) -> ScoreRow | None:
    return chosen_on_dev([row for row in of_set if row.alpha is not None and 0 < row.alpha < 1])


def _per_query(gathered: Gathered, one: Scored) -> pa.Table:
    return EvaluationResult.load(gathered.folder(one.job).storage.child(one.folder)).per_query


def _examples(
    gathered: Gathered,
    retrieval: RetrievalSet,
    changes: PairChanges,
    lead: str,
    systems: tuple[Scored, Scored],
    ranked: bool,
) -> list[Example]:
    pair, queries = changes.pair, [change.query for change in (*changes.mended, *changes.broken)]
    texts = {query.id: query.text for query in retrieval.queries[pair.query]}
    nearest: list[Mapping[str, Sequence[str]]] = []
    if ranked:
        nearest = [_nearest(gathered, one, retrieval, queries, pair) for one in systems]
    wanted = {name for query in queries for name in _relevant(retrieval, query)}
    wanted |= {name for of_system in nearest for of_query in of_system.values() for name in of_query}
    passages = _passages(retrieval, pair.passage, wanted)
    found = []
    for how, group in (("mended", changes.mended), ("broken", changes.broken)):
        for change in group:
            relevant = [name for name in _relevant(retrieval, change.query) if name in passages]
            lists = [("relevant", tuple(_quote(passages[name], "", True) for name in relevant))]
            for one, of_system in zip(systems, nearest, strict=False):
                quotes = [
                    _quote(passages[name], f"rank {rank}", name in relevant)
                    for rank, name in enumerate(of_system[change.query], start=1)
                ]
                lists.append((f"nearest by {one.job.label}", tuple(quotes)))
            title = f"{how}: {_moved(change, lead)}"
            found.append(Example(title, Quote(texts[change.query], pair.query), tuple(lists)))
    return found


def _moved(change: Change, lead: str) -> str:
    """How a query's value went, as ranks where one passage is relevant and the measure tells its rank."""
    if lead == "mAP" and change.rank_before is not None and change.rank_after is not None:
        return f"rank {change.rank_before:,} → {change.rank_after:,}"
    return f"{lead} {number(change.before, 3)} → {number(change.after, 3)}"


def _quote(passage: Passage, note: str, relevant: bool) -> Quote:
    return Quote(passage.text, passage.language, note, relevant)


def _relevant(retrieval: RetrievalSet, query: str) -> list[str]:
    return [name for name, grade in retrieval.qrels[query].items() if grade >= 1]


def _passages(retrieval: RetrievalSet, language: str, wanted: set[str]) -> dict[str, Passage]:
    """The wanted passages of one language, by id."""
    of_language = retrieval.passages[language]
    if isinstance(of_language, Corpus):
        return {name: of_language[place] for name, place in of_language.positions(wanted).items()}
    return {passage.id: passage for passage in of_language if passage.id in wanted}


def _nearest(
    gathered: Gathered, one: Scored, retrieval: RetrievalSet, queries: Sequence[str], pair: LangPair
) -> Mapping[str, Sequence[str]]:
    """The ids of the passages nearest to each query, by the cell's model, encoded here."""
    from xling.data.tokenize import tokenize_retrieval
    from xling.evaluate.shown import nearest_passages
    from xling.model.source import load_folder
    from xling.model.tokenizer import tokenizer_digest

    count = len(retrieval.passages[pair.passage])
    if count > MOST_PASSAGES:
        raise ConfigError(
            f"--examples ranks the {count:,} passages of {retrieval.name} in {pair.passage} again, must be at most"
            f" {MOST_PASSAGES:,}: leave it out, ranks are shown without"
        )
    with gathered.root.local_copy(f"{one.job.folder(gathered.sweep)}/model") as folder:
        loaded = load_folder(folder, trust_remote_code=one.job.config.model.trust_remote_code)
        digest = tokenizer_digest(loaded.tokenizer)
        tokens = tokenize_retrieval(gathered.root, loaded.tokenizer, digest, retrieval, loaded.settings)
        return nearest_passages(loaded, retrieval, tokens, queries, pair, _RANKED, one.job.config.evaluation)
