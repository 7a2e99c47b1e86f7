"""The folder that ``xling mine`` writes, and a training set with its negatives."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from damage import Damage, damaged, damages
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.batching.passages import all_passage_keys
from xling.config.load import load_sweep
from xling.config.schema import DatasetConfig, ModelConfig, TrainingEntry
from xling.data import registry
from xling.data.merge import load_training
from xling.data.mined import with_mined
from xling.data.mined_file import MANIFEST, ROWS, MinedRow, write_mined
from xling.data.records import TrainingSet
from xling.data.samples import SAMPLES
from xling.data.summary import negatives_a_pair
from xling.data.training_tokens import tokenize_training
from xling.errors import ConfigError, DataError
from xling.languages import LangPair
from xling.model.tokenizer import train_tokenizer
from xling.storage import Storage

EN, ES = LangPair("en", "en"), LangPair("es", "es")
TO_EN = LangPair("es", "en")


def rows_file(folder: Path, articles: int = 12, first: int = 0) -> TrainingEntry:
    """Items of an article each, item 3 without Spanish."""
    folder.mkdir(exist_ok=True, parents=True)
    written = []
    for number in range(first, first + articles):
        texts = {
            code: {"question": f"{code} {number}?", "passage": f"{code} text {number}"}
            for code in (("en",) if number == 3 else ("en", "es"))
        }
        written.append(json.dumps({"id": f"{number:02d}", "title": f"A{number}", "texts": texts}))
    (folder / "rows.jsonl").write_text("\n".join(written))
    return TrainingEntry(dataset="parallel-jsonl", path=str(folder / "rows.jsonl"))


def training_of(entry: DatasetConfig) -> TrainingSet:
    return registry.get(entry.dataset).load_training(entry)


def passage(training: TrainingSet, item: int, code: str) -> str:
    return training.items[item].texts[code].passage_id


def row(training: TrainingSet, item: int, pair: LangPair, negatives: list[int]) -> MinedRow:
    ids = tuple(passage(training, other, pair.passage) for other in negatives)
    scores = tuple(0.5 - 0.01 * place for place in range(len(ids)))
    return MinedRow(training.items[item].id, pair, 0.75, ids, scores)


def write(folder: Path, training: TrainingSet, rows: list[MinedRow]) -> Path:
    about = {"training": {"name": training.name, "fingerprint": training.fingerprint}}
    write_mined(Storage(str(folder)), [row.to_line() for row in rows], about)
    return folder


@pytest.fixture
def entry(tmp_path: Path) -> TrainingEntry:
    return rows_file(tmp_path / "data")


@pytest.fixture
def training(entry: TrainingEntry) -> TrainingSet:
    return training_of(entry)


@pytest.fixture
def folder(tmp_path: Path, training: TrainingSet) -> Path:
    rows = [row(training, 0, EN, [1, 2]), row(training, 1, EN, [4]), row(training, 0, TO_EN, [5, 2, 6])]
    return write(tmp_path / "mined", training, [*rows, row(training, 5, ES, [6, 7])])


def ids_of(training: TrainingSet, item: int, code: str) -> list[str]:
    return list(training.items[item].texts[code].negatives)


def test_negatives_of_all_questions_of_an_item_are_merged_in_turn(training: TrainingSet, folder: Path) -> None:
    merged = with_mined(training, folder)
    # mined for the English question: 1, 2; for the Spanish one: 5, 2, 6
    assert ids_of(merged, 0, "en") == [passage(training, other, "en") for other in (1, 5, 2, 6)]
    assert ids_of(merged, 1, "en") == [passage(training, 4, "en")]
    assert ids_of(merged, 5, "es") == [passage(training, other, "es") for other in (6, 7)]
    assert ids_of(merged, 0, "es") == ids_of(merged, 2, "en") == []
    for item in merged.items:
        for pair in item.texts.values():
            assert all(merged.negatives[negative].startswith(("en text", "es text")) for negative in pair.negatives)
    assert len(merged.negatives) == len(list(merged.negatives)) == 7
    assert merged.negatives[passage(training, 5, "en")] == training.items[5].texts["en"].passage
    assert [replace(item, texts={}) for item in merged.items] == [replace(item, texts={}) for item in training.items]
    assert merged.items[-1] == merged.items[len(merged.items) - 1]
    assert merged.items[:2] == [merged.items[0], merged.items[1]]


def test_batches_find_them_by_item_and_passage_language(training: TrainingSet, folder: Path, tmp_path: Path) -> None:
    merged = with_mined(training, folder)
    tokenizer = train_tokenizer(pair.passage for item in training.items for pair in item.texts.values())
    limits = ModelConfig(preset="tiny", max_query_tokens=16, max_passage_tokens=16)
    tokens = tokenize_training(Storage(str(tmp_path / "tokens")), tokenizer, "tokenizer", merged, limits)
    expected = [tokens.passage(item, 0).tolist() for item in (1, 5, 2, 6)]
    assert [ids.tolist() for ids in tokens.negatives(0, 0)] == expected
    assert len(tokens.negative_rows(0, 1)) == len(tokens.negative_rows(2, 0)) == 0
    keys = all_passage_keys(merged)
    assert keys.negatives_N[:4].tolist() == keys.passages_IL[[1, 5, 2, 6], 0].tolist()


def test_how_many_pairs_have_how_many(training: TrainingSet, folder: Path) -> None:
    assert negatives_a_pair(training) == {}
    found = negatives_a_pair(with_mined(training, folder))
    english = sum("en" in item.texts for item in training.items)
    spanish = sum("es" in item.texts for item in training.items)
    assert found == {"en": {4: 1, 1: 1, 0: english - 2}, "es": {2: 1, 0: spanish - 1}}


def test_the_fingerprint_is_of_the_negatives_alone(training: TrainingSet, folder: Path, tmp_path: Path) -> None:
    merged = with_mined(training, folder)
    assert merged.fingerprint != training.fingerprint
    rows = [row(training, 0, EN, [1, 2]), row(training, 1, EN, [4]), row(training, 0, TO_EN, [5, 2, 6])]
    rows.append(row(training, 5, ES, [6, 7]))
    others = [replace(one, positive=0.9, scores=tuple(score / 2 for score in one.scores)) for one in rows]
    assert with_mined(training, write(tmp_path / "scores", training, others)).fingerprint == merged.fingerprint
    rows[-1] = row(training, 5, ES, [7, 6])
    assert with_mined(training, write(tmp_path / "order", training, rows)).fingerprint != merged.fingerprint


def test_a_sets_own_negatives_come_first(tmp_path: Path) -> None:
    entry = TrainingEntry.model_validate(SAMPLES["mmarco"](tmp_path).model_dump())
    training = training_of(entry)
    item, other = next(
        (item, passage)
        for item in training.items
        for passage in sorted({one.texts["en"].passage_id for one in training.items})
        if passage not in (item.texts["en"].passage_id, *item.texts["en"].negatives)
    )
    own = item.texts["en"].negatives
    mined = MinedRow(item.id, EN, 0.5, (other, *own), tuple(0.25 for _ in (other, *own)))
    merged = with_mined(training, write(tmp_path / "mined", training, [mined]))
    found = next(one for one in merged.items if one.id == item.id)
    assert own
    assert found.texts["en"].negatives == (*own, other)
    assert {**training.negatives, other: merged.negatives[other]} == dict(merged.negatives)
    assert len(merged.negatives) == len(dict(merged.negatives))


def test_a_sweep_trains_with_them(entry: TrainingEntry, training: TrainingSet, folder: Path) -> None:
    alone = load_training([entry])
    assert alone == training
    assert load_training([entry.model_copy(update={"mined": str(folder)})]).fingerprint == (
        with_mined(training, folder).fingerprint
    )


def test_several_sets_each_have_theirs(tmp_path: Path) -> None:
    """What the dev split of one set holds out of the other is no negative there either."""
    entries = [rows_file(tmp_path / "large", 100), rows_file(tmp_path / "small", 14, first=50)]
    large, small = map(training_of, entries)
    dev = {query.text for query in registry.get("parallel-jsonl").load_dev(entries[0]).queries["en"]}
    held = [number for number, item in enumerate(small.items) if item.texts["en"].question in dev]
    free = [number for number in range(len(small.items)) if number not in held]
    assert held
    rows = [row(small, free[0], EN, [held[0], free[1]]), row(small, free[2], EN, [held[0]])]
    of_small = write(tmp_path / "mined-small", small, rows)
    of_large = write(tmp_path / "mined-large", large, [row(large, 0, EN, [1, 2])])
    mined = [
        entry.model_copy(update={"mined": str(folder)})
        for entry, folder in zip(entries, (of_large, of_small), strict=True)
    ]
    merged = load_training(mined)
    assert merged.fingerprint != load_training(entries).fingerprint
    names = [name for name, _ in merged.sets]
    found = {item.id: item.texts["en"].negatives for item in merged.items if item.texts["en"].negatives}
    assert found == {
        f"{names[0]}/{large.items[0].id}": tuple(f"{names[0]}/{passage(large, n, 'en')}" for n in (1, 2)),
        f"{names[1]}/{small.items[free[0]].id}": (f"{names[1]}/{passage(small, free[1], 'en')}",),
    }
    assert all(merged.negatives[negative] for of_item in found.values() for negative in of_item)


def rewritten(change: Callable[[dict[str, Any]], None], line: int = 1) -> Callable[[Path, TrainingSet], None]:
    def do(folder: Path, training: TrainingSet) -> None:
        lines = gzip.decompress((folder / ROWS).read_bytes()).splitlines()
        values = json.loads(lines[line])
        change(values)
        lines[line] = json.dumps(values).encode()
        (folder / ROWS).write_bytes(gzip.compress(b"\n".join(lines)))

    return do


def cut_bytes(folder: Path, training: TrainingSet) -> None:
    (folder / ROWS).write_bytes((folder / ROWS).read_bytes()[:-20])


def cut_lines(folder: Path, training: TrainingSet) -> None:
    lines = gzip.decompress((folder / ROWS).read_bytes()).splitlines(keepends=True)
    (folder / ROWS).write_bytes(gzip.compress(b"".join(lines[:2])))


def about(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, TrainingSet], None]:
    def do(folder: Path, training: TrainingSet) -> None:
        values = json.loads((folder / MANIFEST).read_text())
        change(values)
        (folder / MANIFEST).write_text(json.dumps(values))

    return do


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_bytes, rf"{ROWS}:\d+: the gzip stream is cut short"),
        (cut_lines, rf"{ROWS}:2: ends after 2 rows, must hold 4"),
        (rewritten(lambda row: row.update(item="nobody")), rf"{ROWS}:2: `item` is \"nobody\", must be an item of"),
        (rewritten(lambda row: row.update(item="00")), rf"{ROWS}:2: is a second row of item '00' for en-en"),
        (rewritten(lambda row: row.update(negatives=["en/none"])), rf"{ROWS}:2: names \"en/none\", must be a passage"),
        (rewritten(lambda row: row.update(query_language="xx")), rf"{ROWS}:2: is of language 'xx', which item"),
        (rewritten(lambda row: row.update(query_language="English")), rf"{ROWS}:2: 'English' is not a language code"),
        (rewritten(lambda row: row.update(passage_language="es")), rf"{ROWS}:2: names .* in 'es'"),
        (rewritten(lambda row: row.update(scores=[0.5, 0.25])), rf"{ROWS}:2: has 1 negatives and 2 scores"),
        (rewritten(lambda row: row.update(negatives=[], scores=[])), rf"{ROWS}:2: has 0 negatives and 0 scores"),
        (rewritten(lambda row: row.update(scores=[float("nan")])), rf"{ROWS}:2: holds NaN, which is no JSON"),
        (rewritten(lambda row: row.update(positive="high")), rf"{ROWS}:2: `positive` is \"high\""),
        (rewritten(lambda row: row.update(rank=1)), rf"{ROWS}:2: has \"rank\", must have"),
        (rewritten(lambda row: row.pop("scores")), rf"{ROWS}:2: `scores` is missing"),
        (rewritten(lambda row: row.update(negatives=["a", "a"], scores=[0.5, 0.5])), "2: names a negative twice"),
        (rewritten(lambda row: row.update(positive=0.5)), rf"{ROWS}:1: to line 4 the rows are not those"),
        (rewritten(lambda row: row["negatives"].reverse(), line=0), rf"{ROWS}:1: to line 4 the rows are not those"),
        (lambda folder, training: (folder / MANIFEST).unlink(), rf"has no {MANIFEST}, which a finished mine leaves"),
        (lambda folder, training: (folder / ROWS).unlink(), rf"{ROWS}: does not exist"),
        (lambda folder, training: (folder / MANIFEST).write_text("{"), rf"{MANIFEST}: is not whole JSON"),
        (lambda folder, training: (folder / MANIFEST).write_text("[]"), rf"{MANIFEST}: is not of mined negatives"),
        (about(lambda values: values.update(version=2)), rf"{MANIFEST}: is version 2 of the format, must be 1"),
        (about(lambda values: values.update(rows="4")), rf"{MANIFEST}: lacks the training set, the number of rows"),
        (about(lambda values: values["training"].update(fingerprint="0f")), rf"{MANIFEST}: was mined for parallel"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_folder_is_told(
    training: TrainingSet, folder: Path, damage: Callable[[Path, TrainingSet], None], message: str
) -> None:
    damage(folder, training)
    with pytest.raises(DataError, match=message) as refusal:
        with_mined(training, folder)
    assert len(str(refusal.value).splitlines()) == 1


def test_an_items_own_passage_is_refused(training: TrainingSet, tmp_path: Path) -> None:
    own = write(tmp_path / "own", training, [row(training, 2, EN, [4, 2])])
    with pytest.raises(DataError, match=rf"{ROWS}:1: names the item's own passage"):
        with_mined(training, own)


def test_a_folder_for_other_data_is_refused(tmp_path: Path, folder: Path) -> None:
    other = rows_file(tmp_path / "other", articles=13)
    with pytest.raises(DataError, match=r"was mined for parallel-jsonl with the fingerprint .* must be for the set"):
        load_training([other.model_copy(update={"mined": str(folder)})])


def test_the_same_rows_are_the_same_bytes(training: TrainingSet, folder: Path, tmp_path: Path) -> None:
    rows = [row(training, 0, EN, [1, 2]), row(training, 1, EN, [4]), row(training, 0, TO_EN, [5, 2, 6])]
    again = write(tmp_path / "again", training, [*rows, row(training, 5, ES, [6, 7])])
    for name in (ROWS, MANIFEST):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_a_write_that_is_broken_off_leaves_no_manifest(training: TrainingSet, folder: Path) -> None:
    def lines():
        yield row(training, 0, EN, [1]).to_line()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mined(Storage(str(folder)), lines(), {"training": {}})
    with pytest.raises(DataError, match=f"has no {MANIFEST}"):
        with_mined(training, folder)


def test_a_sweep_file_names_the_folder_relative_to_where_one_is(tmp_path: Path, folder: Path, monkeypatch) -> None:
    from xling.sweep.registered import check_registered

    monkeypatch.chdir(tmp_path)
    text = "name: a\nmodel: {{preset: tiny}}\ndata: {{train: {{dataset: geo, mined: {}}}}}\n"
    Path("good.yaml").write_text(text.format("mined"))
    loaded = load_sweep(Path("good.yaml"), (), [check_registered])
    assert loaded.cells[0].config.data.training_sets[0].mined == str(folder)
    Path("bad.yaml").write_text(text.format("nowhere"))
    with pytest.raises(ConfigError, match=r"data\.train\.mined is '.*/nowhere', which is no folder"):
        load_sweep(Path("bad.yaml"), (), [check_registered])
    scored = "name: a\nmodel: {preset: tiny}\ndata: {train: {dataset: geo}, evaluate: [{dataset: geo, mined: mined}]}\n"
    Path("scored.yaml").write_text(scored)
    with pytest.raises(ConfigError, match="mined"):
        load_sweep(Path("scored.yaml"))


def outcome(training: TrainingSet, folder: Path) -> tuple[str, str]:
    """The fingerprint, or the message of the user's error."""
    try:
        return with_mined(training, folder).fingerprint, ""
    except DataError as error:
        return "", str(error)


def fuzz(cases: int) -> None:
    scratch = Path(tempfile.mkdtemp())
    try:
        training = training_of(rows_file(scratch / "data"))
        whole = write(scratch / "mined", training, [row(training, n, EN, [n + 1, n + 2]) for n in range(6)])
        expected = with_mined(training, whole).fingerprint

        @settings(max_examples=cases, deadline=None, derandomize=True)
        @given(st.sampled_from([ROWS, MANIFEST]), damages, st.booleans())
        def run(name: str, changes: list[Damage], inside: bool) -> None:
            broken = scratch / "broken"
            shutil.rmtree(broken, ignore_errors=True)
            shutil.copytree(whole, broken)
            (broken / name).write_bytes(damaged((broken / name).read_bytes(), changes, inside=inside))
            # The negatives that were mined, or a message that a terminal can print: never others.
            found, message = outcome(training, broken)
            assert found == expected or message.strip()
            message.encode()

        run()
    finally:
        shutil.rmtree(scratch)


def test_damaged_folders_are_told_or_the_same() -> None:
    fuzz(150)


@pytest.mark.slow
def test_many_damaged_folders_are_told_or_the_same() -> None:
    fuzz(3000)
