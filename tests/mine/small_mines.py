"""Small training sets, encoders whose scores are often equal, and mining written out plainly."""

from __future__ import annotations

import unicodedata
import zlib
from dataclasses import dataclass

import numpy as np
from tied_encoders import tied_model

from xling.config.schema import EvaluationConfig
from xling.data.fingerprint import fingerprint_items
from xling.data.records import ParallelItem, RetrievalSet, TextPair, TrainingSet
from xling.evaluate.search.place import Here
from xling.evaluate.search.shards import ShardStore
from xling.languages import LangPair
from xling.mine.candidates import candidates_of
from xling.mine.choose import Rule
from xling.mine.miner import Mine, mine

LANGUAGES = ("de", "en", "ru")


def small_training(seed: int = 0, items: int = 60, *, negatives: bool = True) -> TrainingSet:
    """Items of which some share a passage, lack a language, or have a text that another language has too."""
    rng = np.random.default_rng(seed)
    made, texts = [], {}
    for number in range(items):
        about = number - 1 if number % 7 == 3 else number  # asks about the passage of the item before it
        pairs = {}
        for code in LANGUAGES:
            if code == "ru" and number % 5 == 4:
                continue
            passage = f"{code} passage {about}"
            if number in (10, 20) and code in ("de", "en"):
                passage = "The  SAME" if code == "de" else "the same"
            own = ()
            if negatives and code == "en" and number % 4 == 0:
                own = (f"en/hard{number}",)
                texts[own[0]] = f"en hard {number}" if number else "en passage 5"  # the latter is item 5's passage
            pairs[code] = TextPair(f"{code} question {number}?", passage, f"{code}/p{about}", own)
        made.append(ParallelItem(f"i{number}", f"article {int(rng.integers(0, 8))}" if number % 9 else "", pairs))
    return TrainingSet("small", LANGUAGES, made, fingerprint_items(LANGUAGES, made, texts), negatives=texts)


@dataclass(frozen=True)
class Tokens:
    """A token a text, a function of the text."""

    queries: dict[str, list[np.ndarray]]
    passages: dict[str, list[np.ndarray]]

    @classmethod
    def of(cls, retrieval: RetrievalSet) -> Tokens:
        sides = [
            {code: [np.array([token_of(one.text)], np.int32) for one in side[code]] for code in retrieval.languages}
            for side in (retrieval.queries, retrieval.passages)
        ]
        return cls(*sides)


def token_of(text: str) -> int:
    return 5 + zlib.crc32(text.encode()) % 55


def mined(folder, training, pairs, rule: Rule, *, deepest=1000, tasks=1, loaded=None, settings=None, tell=None) -> Mine:
    """Mine in this process, with embeddings of small whole numbers."""
    candidates = candidates_of(training, pairs)
    loaded = loaded or tied_model()
    return mine(
        candidates,
        pairs,
        rule,
        Tokens.of(candidates.retrieval),
        settings or EvaluationConfig(),
        Here(1),
        ShardStore(str(folder), "float32"),
        lambda: loaded,
        deepest=deepest,
        tasks=tasks,
        tell=tell or (lambda progress: None),
    )


def plainly(training: TrainingSet, pair: LangPair, rule: Rule) -> dict[str, list[tuple[str, float]]]:
    """Negatives by item: every passage scored, sorted, and gone through one by one."""
    table = tied_model().encoder.table.detach().numpy()
    texts: dict[str, str] = {}
    article: dict[str, str] = {}
    for item in training.items:
        if pair.passage in item.texts:
            of = item.texts[pair.passage]
            texts.setdefault(of.passage_id, of.passage)
            article.setdefault(of.passage_id, item.article)
    for item in training.items:
        for negative in item.texts[pair.passage].negatives if pair.passage in item.texts else ():
            texts.setdefault(negative, training.negatives[negative])
    ids = sorted(texts, reverse=True)
    found: dict[str, list[tuple[str, float]]] = {}
    for item in training.items:
        if not {pair.query, pair.passage} <= item.texts.keys():
            continue
        query = table[token_of(item.texts[pair.query].question)]
        score = {one: float(query @ table[token_of(texts[one])]) for one in ids}
        positive = score[item.texts[pair.passage].passage_id]
        equal = names_of(training, item)
        rank, chosen = 0, []
        for one in sorted(ids, key=lambda one: -score[one]):  # stable: equal scores by id, descending
            if one in equal or plain(texts[one]) in equal:
                continue
            if rule.other_articles and item.article and article.get(one, "") == item.article:
                continue
            rank += 1
            limit = float("inf") if rule.margin is None else positive - rule.margin
            if rule.max_share is not None:
                limit = min(limit, positive - (1 - rule.max_share) * abs(positive))
            if rule.first <= rank <= rule.last and score[one] <= limit:
                chosen.append((one, score[one]))
        if chosen:
            found[item.id] = chosen
    return found


def names_of(training: TrainingSet, item: ParallelItem) -> set[str]:
    """Ids and texts of all passages that are equal to one of the item's, or beside an equal one in another item."""
    names: set[str] = set()
    new = {name for pair in item.texts.values() for name in (pair.passage_id, plain(pair.passage))}
    while not new <= names:
        names |= new
        for other in training.items:
            of = {name for pair in other.texts.values() for name in (pair.passage_id, plain(pair.passage))}
            if of & names:
                new |= of
    return names


def plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
