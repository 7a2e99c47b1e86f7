"""Mr. TyDi, MIRACL and BEIR-shaped folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.corpus import Corpus
from xling.data.files import BadRows, read_jsonl, read_tsv
from xling.data.records import RetrievalSet, TrainingSet
from xling.data.samples import SAMPLES
from xling.data.samples.files import write_jsonl, write_table
from xling.data.samples.retrieval import CORPUS, TOPICS
from xling.data.sets.collection import body, read_beir_qrels, read_qrels
from xling.data.sets.miracl import SHARDS
from xling.errors import DataError

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="needs the real topics and qrels beside the repository")


@pytest.fixture(params=["mr-tydi", "miracl", "beir"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> DatasetConfig:
    return SAMPLES[request.param](tmp_path)


def load(config: DatasetConfig, **changes: Any) -> RetrievalSet:
    return registry.get(config.dataset).load_evaluation(config.model_copy(update=changes))


def files_of(config: DatasetConfig, language: str) -> dict[str, Path]:
    adapter: Any = registry.get(config.dataset)
    return adapter.locate(config, language, adapter.splits[0])._asdict()


def test_a_collection_is_read_per_language(config: DatasetConfig) -> None:
    retrieval = load(config)
    assert set(retrieval.languages) == {"sw", "bn"}
    assert not retrieval.cross_lingual
    assert [passage.id for passage in retrieval.passages["sw"]] == ["sw/9#1", "sw/9#0", "sw/10#0"]
    assert {query.id: query.text for query in retrieval.queries["sw"]} == {f"sw/{i}": text for i, text in TOPICS["sw"]}
    titled, untitled = retrieval.passages["sw"][0], retrieval.passages["sw"][1]
    assert (titled.text, titled.article) == ("Nairobi Mji ulianzishwa mwaka 1899.", "Nairobi")
    assert (untitled.text, untitled.article) == ("Bila kichwa.", "")
    assert body(titled) == CORPUS["sw"][1]["text"]
    assert body(untitled) == "Bila kichwa."
    assert all(isinstance(passages, Corpus) for passages in retrieval.passages.values())


def test_grades_and_measures_are_the_published_ones(tmp_path: Path) -> None:
    sets = {name: load(SAMPLES[name](tmp_path / name)) for name in ("mr-tydi", "miracl", "beir")}
    assert sets["mr-tydi"].qrels["sw/1"] == {"sw/9#1": 1}
    assert sets["miracl"].qrels["sw/1"] == {"sw/9#1": 1, "sw/10#0": 0}  # explicit zeros stay
    assert sets["beir"].qrels["sw/1"] == {"sw/9#1": 2, "sw/10#0": 0}
    assert sets["mr-tydi"].measures == ("MRR@100", "R@100")
    assert sets["miracl"].measures == sets["beir"].measures == ("nDCG@10", "R@100")


def test_a_missing_language_is_named(config: DatasetConfig) -> None:
    assert registry.problems(config.model_copy(update={"languages": ("th",)}), "evaluate")[0][0] == "languages"
    with pytest.raises(DataError, match="th"):
        load(config, languages=("th",))


@pytest.mark.parametrize("part", ["topics", "qrels"])
def test_a_missing_file_is_named_with_its_place(config: DatasetConfig, part: str) -> None:
    path = files_of(config, "sw")[part]
    path.unlink()
    with pytest.raises(DataError) as caught:
        load(config)
    assert path.name in str(caught.value)
    assert dict(registry.problems(config, "evaluate")).keys() == {"path"}
    assert load(config, languages=("bn",)).languages == ("bn",)  # the others do not need it


def qrels_line(config: DatasetConfig, query: str, passage: str, grade: object) -> str:
    return "\t".join([query, passage, str(grade)] if config.dataset == "beir" else [query, "Q0", passage, str(grade)])


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (("3", "404#0", "1"), "judges passage '404#0', which "),
        (("99", "10#0", "1"), "judges query '99', which "),
        (("3", "10#0", "1"), "judges passage '10#0' for query '3' a second time"),
        (("3", "9#1", "good"), 'the grade is "good", must be a whole number'),
        (("3", "9#1", "9" * 40), "must be a whole number"),
        (("3", "9#1", "²"), "must be a whole number"),
        (("3", "9#1 0", "1"), "columns, must have"),
    ],
)
def test_wrong_judgements_stop_or_are_counted(
    config: DatasetConfig, caplog: pytest.LogCaptureFixture, row: tuple[str, str, str], rule: str
) -> None:
    path = files_of(config, "sw")["qrels"]
    whole = load(config)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines, qrels_line(config, *row)]), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load(config)
    assert str(caught.value).startswith(f"{path}:{len(lines) + 1}: ")
    assert rule in str(caught.value)
    assert load(config, bad_rows="skip").fingerprint == whole.fingerprint
    assert f"{config.dataset}: 1 bad rows left out" in caplog.text


def test_wrong_corpus_rows_stop_or_are_counted(config: DatasetConfig) -> None:
    (path,) = files_of(config, "sw")["corpus"]
    key = "_id" if config.dataset == "beir" else "docid"
    rows = [{key: row["docid"], "title": row["title"], "text": row["text"]} for row in CORPUS["sw"]]
    for wrong, rule in [
        ({key: "1#1", "title": "", "text": " "}, "passage '1#1' is empty, must have a title or a text"),
        ({key: "1 1", "title": "", "text": "x"}, f'`{key}` is "1 1", must be an id without white space'),
        ({key: "10#0", "title": "", "text": "x"}, f"passage id 'sw/10#0' is that of {path}:1 too"),
        ({"title": "", "text": "x"}, f"`{key}` is missing"),
        ({key: "1#1", "text": ["x"]}, "`text` is"),
    ]:
        write_jsonl(path, [*rows, wrong])
        with pytest.raises(DataError) as caught:
            load(config)
        assert str(caught.value).startswith(f"{path}:4: ")
        assert rule in str(caught.value)
        assert len(load(config, bad_rows="skip").passages["sw"]) == 3


def test_a_query_twice_and_a_cut_corpus_are_found(config: DatasetConfig) -> None:
    files = files_of(config, "sw")
    content = files["topics"].read_bytes()
    files["topics"].write_bytes(content + content.splitlines(keepends=True)[0])
    with pytest.raises(DataError, match="query id '3' is that of an earlier line"):
        load(config)
    files["topics"].write_bytes(content)
    (corpus,) = files["corpus"]
    corpus.write_bytes(corpus.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"corpus|docs-0"):
        load(config)


def test_a_passage_of_five_megabytes_is_read(config: DatasetConfig) -> None:
    (path,) = files_of(config, "sw")["corpus"]
    key = "_id" if config.dataset == "beir" else "docid"
    rows = [{key: row["docid"], "title": row["title"], "text": row["text"]} for row in CORPUS["sw"]]
    write_jsonl(path, [*rows, {key: "8#0", "title": "", "text": "mrefu " * 900_000}])
    passages = load(config).passages["sw"]
    assert max(len(passage.text) for passage in passages) == len("mrefu " * 900_000)


def test_a_missing_shard_is_an_error_and_not_a_smaller_corpus(tmp_path: Path) -> None:
    config = SAMPLES["miracl"](tmp_path)
    below = tmp_path / "miracl-v1.0-te"
    rows = [{"docid": f"{n}#0", "title": "", "text": "x"} for n in range(4)]
    write_jsonl(tmp_path / "miracl-corpus-v1.0-te" / "docs-1.jsonl.gz", rows[2:])
    write_table(below / "topics" / "topics.miracl-v1.0-te-dev.tsv", [("1", "?")])
    write_table(below / "qrels" / "qrels.miracl-v1.0-te-dev.tsv", [("1", "Q0", "0#0", "1"), ("1", "Q0", "3#0", "1")])
    with pytest.raises(DataError, match=r"lacks 1 of the 2 shards that were published for 'te': docs-0\.jsonl\.gz"):
        load(config, languages=("te",))
    assert "docs-0.jsonl.gz" in dict(registry.problems(config, "evaluate"))["path"]
    write_jsonl(tmp_path / "miracl-corpus-v1.0-te" / "docs-0.jsonl.gz", rows[:2])
    retrieval = load(config, languages=("te",))
    assert [passage.id for passage in retrieval.passages["te"]] == ["te/3#0", "te/2#0", "te/1#0", "te/0#0"]
    # A judged passage of another shard: the folder is named, not one of the shards.
    write_table(below / "qrels" / "qrels.miracl-v1.0-te-dev.tsv", [("1", "Q0", "9#0", "1")])
    with pytest.raises(DataError, match=r"which .*miracl-corpus-v1\.0-te lacks; is the corpus whole"):
        load(config, languages=("te",))


def test_shards_are_those_published() -> None:
    assert len(SHARDS) == 18
    assert (SHARDS["en"], SHARDS["de"], SHARDS["zh"], SHARDS["yo"]) == (66, 32, 10, 1)


def test_mr_tydi_takes_anserinis_names_and_splits(tmp_path: Path) -> None:
    config = SAMPLES["mr-tydi"](tmp_path)
    whole = load(config, languages=("sw",))
    for role in ("topics", "qrels"):
        old = tmp_path / "mrtydi-v1.1-swahili" / "ir-format-data" / f"{role}.test.txt"
        rows = [line.split("\t") for line in old.read_text(encoding="utf-8").splitlines()]
        old.unlink()
        write_table(tmp_path / f"{role}.mrtydi-v1.1-sw.test.txt.gz", rows)
    assert load(config, languages=("sw",)).fingerprint == whole.fingerprint
    dev = load(config, languages=("sw",), split="dev")
    assert dev.name == "mr-tydi-dev"
    assert (
        "is 'train', must be one of test, dev"
        in dict(registry.problems(config.model_copy(update={"split": "train"}), "evaluate"))["split"]
    )


def train(config: DatasetConfig, **changes: Any) -> TrainingSet:
    return registry.get("mr-tydi").load_training(config.model_copy(update=changes))


def test_mr_tydi_is_trained_on_with_hard_negatives(tmp_path: Path) -> None:
    config = SAMPLES["mr-tydi"](tmp_path)
    training = train(config, hard_negatives=5)
    items = {item.id: item for item in training.items}
    assert all(list(item.texts) == [key.partition("/")[0]] for key, item in items.items())
    dev = registry.get("mr-tydi").load_dev(config)
    asked = {query.id.partition("/")[2] for queries in dev.queries.values() for query in queries}
    more = {f"{code}/{99 + n}" for code in CORPUS for n in range(4 * len(CORPUS[code]))}
    assert {*items, *asked} == {"sw/3", "sw/1", "bn/5", *more}
    texts = {
        f"{code}/{row['docid']}": f"{row['title']} {row['text']}".strip() for code in CORPUS for row in CORPUS[code]
    }
    for key, item in items.items():
        pair = item.texts[key[:2]]
        assert pair.passage == texts[pair.passage_id]
        assert set(pair.negatives) == {name for name in texts if name.startswith(key[:3]) and name != pair.passage_id}
    assert all(training.negatives[name] == texts[name] for name in training.negatives)
    assert {len(item.texts[key[:2]].negatives) for key, item in {i.id: i for i in train(config).items}.items()} == {1}
    assert not train(config, hard_negatives=0).negatives


def test_mr_tydi_without_corpora_can_be_trained_on_but_not_scored(tmp_path: Path) -> None:
    config = SAMPLES["mr-tydi"](tmp_path)
    for code in ("swahili", "bengali"):
        (tmp_path / f"mrtydi-v1.1-{code}" / "corpus.jsonl.gz").unlink()
    assert registry.problems(config, "train") == []
    assert train(config).languages
    with pytest.raises(DataError, match="holds no corpus of mr-tydi"):
        load(config)
    with pytest.raises(DataError, match=r"has no mrtydi-v1\.1-bengali/corpus\.jsonl\.gz|holds no corpus"):
        load(config, languages=("bn",))
    with pytest.raises(DataError, match=r"has no mrtydi-v1\.1-thai/train\.jsonl\.gz"):
        train(config, languages=("th",))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"positive_passages": []}, "`positive_passages` is empty"),
        ({"positive_passages": [{"docid": "1#0", "title": "", "text": ""}]}, "passage '1#0' has no text"),
        ({"negative_passages": None}, "`negative_passages` is null, must be a list of objects"),
        ({"query": ""}, "`query` is"),
        ({"query_id": "3"}, "which an earlier row has too"),
    ],
)
def test_wrong_training_rows(tmp_path: Path, change: dict[str, Any], rule: str) -> None:
    config = SAMPLES["mr-tydi"](tmp_path)
    path = tmp_path / "mrtydi-v1.1-swahili" / "train.jsonl.gz"
    rows = [row for _, row in read_jsonl(path, BadRows(strict=True))]
    write_jsonl(path, [*rows, rows[0] | {"query_id": "1000"} | change])
    with pytest.raises(DataError) as caught:
        train(config)
    assert str(caught.value).startswith(f"{path}:{len(rows) + 1}: ")
    assert rule in str(caught.value)
    write_jsonl(path, rows)
    whole = train(config)
    write_jsonl(path, [*rows, rows[0] | {"query_id": "1000"} | change])
    assert train(config, bad_rows="skip").fingerprint == whole.fingerprint


def test_beir_scores_the_queries_of_its_split_alone(tmp_path: Path) -> None:
    config = SAMPLES["beir"](tmp_path)
    assert {query.id for query in load(config).queries["bn"]} == {"bn/5"}
    for code in ("sw", "bn"):
        (tmp_path / code / "qrels" / "dev.tsv").unlink()
    with pytest.raises(DataError, match=r"has no qrels/dev\.tsv"):
        load(config, split="dev")
    header = [("query-id", "corpus-id", "score")]
    for code in ("sw", "bn"):
        write_table(tmp_path / code / "qrels" / "dev.tsv", [*header, ("train-1", CORPUS[code][0]["docid"], 3)])
    dev = load(config, split="dev")
    assert [query.id for query in dev.queries["sw"]] == ["sw/train-1"]
    assert dev.qrels["sw/train-1"] == {"sw/10#0": 3}


def test_a_single_beir_folder_needs_its_language_named(tmp_path: Path) -> None:
    SAMPLES["beir"](tmp_path)
    single = DatasetConfig(dataset="beir", path=str(tmp_path / "sw"))
    assert "must name the one language" in dict(registry.problems(single, "evaluate"))["languages"]
    with pytest.raises(DataError, match="must name the one language"):
        load(single)
    named = single.model_copy(update={"languages": ("sw",)})
    assert registry.problems(named, "evaluate") == []
    assert load(named).passages["sw"][0].id == "sw/9#1"


def test_beir_folders_may_have_names_of_languages(tmp_path: Path) -> None:
    config = SAMPLES["beir"](tmp_path)
    (tmp_path / "sw").rename(tmp_path / "Swahili")
    (tmp_path / "notes").mkdir()
    assert set(load(config).languages) == {"bn", "sw"}
    (tmp_path / "Swahili").rename(tmp_path / "elvish!")
    with pytest.raises(DataError, match="has a corpus, but its name 'elvish!' is no language"):
        load(config)


def test_a_folder_with_nothing_says_what_it_must_be(tmp_path: Path) -> None:
    for name in ("mr-tydi", "miracl", "beir"):
        with pytest.raises(DataError, match=f"holds no corpus of {name}; it must be a folder with"):
            load(DatasetConfig(dataset=name, path=str(tmp_path)))


def rows_of(path: Path) -> int:
    return sum(1 for _ in read_tsv(path, 2, BadRows(strict=True)))


@needs_real
def test_mr_tydi_topics_and_qrels_have_the_published_counts() -> None:
    counts = {
        (code, split): rows_of(REAL / "mrtydi" / f"topics.mrtydi-v1.1-{code}.{split}.txt.gz")
        for code in ("bn", "sw")
        for split in ("test", "dev")
    }
    assert counts == {("bn", "test"): 111, ("sw", "test"): 670, ("bn", "dev"): 440, ("sw", "dev"): 526}
    for code, split in counts:
        qrels = list(read_qrels(REAL / "mrtydi" / f"qrels.mrtydi-v1.1-{code}.{split}.txt", BadRows(strict=True)))
        assert {row.grade for row in qrels} == {1}
        assert len({row.query for row in qrels}) == counts[code, split]


@needs_real
def test_miracl_topics_and_qrels_have_the_published_counts() -> None:
    for code, queries, judged in (("bn", 411, 4206), ("sw", 482, 5092)):
        folder = REAL / "miracl"
        assert rows_of(folder / f"topics.miracl-v1.0-{code}-dev.tsv") == queries
        qrels = list(read_qrels(folder / f"qrels.miracl-v1.0-{code}-dev.tsv", BadRows(strict=True)))
        assert len({row.query for row in qrels}) == queries
        assert len(qrels) == judged
        assert {row.grade for row in qrels} == {0, 1}


@needs_real
@pytest.mark.parametrize("code", ["bn", "sw"])
def test_real_judgements_are_read_whole_over_a_corpus_that_has_them(tmp_path: Path, code: str) -> None:
    """The corpora are not at hand; one of the judged ids stands for each."""
    name = f"miracl-v1.0-{code}-dev.tsv"
    for role in ("topics", "qrels"):
        (tmp_path / f"{role}.{name}").write_bytes((REAL / "miracl" / f"{role}.{name}").read_bytes())
    qrels = list(read_qrels(tmp_path / f"qrels.{name}", BadRows(strict=True)))
    docids = dict.fromkeys(row.passage for row in qrels)
    rows = ({"docid": docid, "title": "", "text": f"text of {docid}"} for docid in docids)
    write_jsonl(tmp_path / f"miracl-corpus-v1.0-{code}" / "docs-0.jsonl.gz", rows)
    retrieval = load(DatasetConfig(dataset="miracl", path=str(tmp_path)))
    assert len(retrieval.queries[code]) == {"bn": 411, "sw": 482}[code]
    assert sum(map(len, retrieval.qrels.values())) == len(qrels)
    assert len(retrieval.passages[code]) == len(docids)
    assert all(any(row.values()) for row in retrieval.qrels.values())


@needs_real
def test_real_topics_of_mr_tydi_are_scored_over_a_corpus_that_has_their_passages(tmp_path: Path) -> None:
    for code, name in (("bn", "bengali"), ("sw", "swahili")):
        for file in (f"topics.mrtydi-v1.1-{code}.test.txt.gz", f"qrels.mrtydi-v1.1-{code}.test.txt"):
            (tmp_path / file).write_bytes((REAL / "mrtydi" / file).read_bytes())
        qrels = read_qrels(tmp_path / f"qrels.mrtydi-v1.1-{code}.test.txt", BadRows(strict=True))
        docids = dict.fromkeys(row.passage for row in qrels)
        rows = ({"docid": docid, "title": "", "text": f"text of {docid}"} for docid in docids)
        write_jsonl(tmp_path / f"mrtydi-v1.1-{name}" / "corpus.jsonl.gz", rows)
    retrieval = load(DatasetConfig(dataset="mr-tydi", path=str(tmp_path)))
    assert {code: len(queries) for code, queries in retrieval.queries.items()} == {"bn": 111, "sw": 670}
    assert retrieval.qrels.keys() == {query.id for queries in retrieval.queries.values() for query in queries}


def test_header_and_columns_of_qrels(tmp_path: Path) -> None:
    path = write_table(tmp_path / "q.tsv", [("query-id", "corpus-id", "score"), ("a", "b", -1)])
    assert [tuple(row) for row in read_beir_qrels(path, BadRows(strict=True))] == [(2, "a", "b", -1)]
    path.write_text("a 0 b 2\n\na\tQ0\tc\t0\n", encoding="utf-8")
    assert [tuple(row) for row in read_qrels(path, BadRows(strict=True))] == [(1, "a", "b", 2), (3, "a", "c", 0)]
    path.write_bytes(b"a\xff 0 b 2\n")
    with pytest.raises(DataError, match=r":1: is not UTF-8"):
        list(read_qrels(path, BadRows(strict=True)))
