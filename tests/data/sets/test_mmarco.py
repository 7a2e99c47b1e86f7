"""mMARCO: sampled triples, and the texts they name."""

from __future__ import annotations

import gzip
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xling.config.schema import DatasetConfig
from xling.data.files import BadRows
from xling.data.samples.facts import FACTS, TITLES
from xling.data.samples.parallel import FIXTURES
from xling.data.sets import msmarco_triples
from xling.data.sets.item_adapter import Items
from xling.data.sets.mmarco import BY_CODE, Mmarco
from xling.data.sets.msmarco_triples import Triples, sample_triples
from xling.errors import DataError


def read(folder: Path, **options: Any) -> Items:
    return Mmarco().read_items(DatasetConfig(dataset="mmarco", path=str(folder), **options))


def as_dict(triples: Triples) -> dict[tuple[int, int], list[int]]:
    offsets = triples.offsets.tolist()
    negatives = [triples.negatives_N[a:b].tolist() for a, b in pairwise(offsets)]
    items = zip(triples.queries_I.tolist(), triples.positives_I.tolist(), strict=True)
    return dict(zip(items, negatives, strict=True))


@pytest.fixture
def triples_file(tmp_path: Path) -> Path:
    generator = random.Random(3)
    lines = [
        f"{query}\t{positive}\t{generator.randrange(8_841_823)}\n"
        for query in generator.sample(range(1_200_000), 300)
        for positive in generator.sample(range(8_841_823), generator.choice((1, 1, 1, 2)))
        for _ in range(generator.randrange(1, 12))
    ]
    generator.shuffle(lines)
    (tmp_path / "triples.tsv").write_text("".join(lines))
    return tmp_path / "triples.tsv"


def test_languages_have_full_names() -> None:
    assert len(BY_CODE) == 14
    assert {BY_CODE[code] for code in ("ar", "zh", "id", "vi")} == {"arabic", "chinese", "indonesian", "vietnamese"}


def test_all_of_a_small_file_is_the_sample(triples_file: Path) -> None:
    expected: dict[tuple[int, int], set[int]] = {}
    for line in triples_file.read_text().splitlines():
        query, positive, negative = map(int, line.split("\t"))
        expected.setdefault((query, positive), set()).add(negative)
    found = as_dict(sample_triples(triples_file, 10_000, 100, BadRows(strict=True)))
    assert {item: set(negatives) for item, negatives in found.items()} == expected
    assert list(found) == sorted(found)


def test_the_sample_is_the_same_whatever_the_order_and_the_blocks(
    triples_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = as_dict(sample_triples(triples_file, 50, 3, BadRows(strict=True)))
    lines = triples_file.read_bytes().splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    repeated = triples_file.with_name("again.tsv.gz")
    repeated.write_bytes(gzip.compress(b"".join(lines + lines[:200])))
    monkeypatch.setattr(msmarco_triples, "MERGE_ROWS", 100)
    read_blocks = msmarco_triples.open_blocks
    monkeypatch.setattr(msmarco_triples, "open_blocks", lambda path: read_blocks(path, 500))
    assert as_dict(sample_triples(repeated, 50, 3, BadRows(strict=True))) == one
    assert len(one) == 50
    assert max(map(len, one.values())) == 3


def test_a_smaller_sample_is_part_of_a_larger(triples_file: Path) -> None:
    small, large = (as_dict(sample_triples(triples_file, n, k, BadRows(strict=True))) for n, k in ((20, 2), (90, 5)))
    assert small.keys() <= large.keys()
    assert all(large[item][: len(negatives)] == negatives for item, negatives in small.items())
    assert all(not negatives for negatives in as_dict(sample_triples(triples_file, 20, 0, BadRows(True))).values())


def test_a_sample_is_not_the_files_beginning(triples_file: Path) -> None:
    queries = [query for query, _ in as_dict(sample_triples(triples_file, 60, 1, BadRows(strict=True)))]
    every = [query for query, _ in as_dict(sample_triples(triples_file, 10_000, 1, BadRows(strict=True)))]
    assert np.mean(np.searchsorted(every, queries)) == pytest.approx(len(every) / 2, rel=0.25)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1\t2", "has 2 columns separated by tabs, must have 3"),
        ("1\t2\t3\t4", "has 4 columns"),
        ("1 2 3", "has 1 columns"),
        ("1\tx\t3", 'holds the id "x", must be a whole number below 2^31'),
        ("1\t-2\t3", 'holds the id "-2"'),
        ("1\t2.5\t3", 'holds the id "2.5"'),
        ("1\t\t3", 'holds the id ""'),
        ("1\t2147483648\t3", 'holds the id "2147483648"'),
        ("1\t2\t" + "9" * 30, 'holds the id "999'),
        ("1\t2\t٣", "holds the id "),
        ("1\t2\t\x00", "holds the id "),
    ],
)
def test_wrong_lines_of_triples_are_named_or_left_out(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "triples.tsv"
    path.write_text(f"1\t2\t3\n4\t5\t6\n{line}\n7\t8\t9\n")
    with pytest.raises(DataError) as raised:
        sample_triples(path, 10, 1, BadRows(strict=True))
    assert f"triples.tsv:3: {problem}" in str(raised.value)
    bad = BadRows(strict=False)
    assert list(as_dict(sample_triples(path, 10, 1, bad))) == [(1, 2), (4, 5), (7, 8)]
    assert bad.count == 1


def test_ends_of_lines_and_marks_make_no_difference(tmp_path: Path) -> None:
    for number, content in enumerate(
        (b"1\t2\t3\n4\t5\t6\n", b"\xef\xbb\xbf1\t2\t3\r\n4\t5\t6", b"1\t2\t3\n\n4\t5\t6\n\n")
    ):
        (tmp_path / f"{number}.tsv").write_bytes(content)
        found = as_dict(sample_triples(tmp_path / f"{number}.tsv", 10, 1, BadRows(strict=True)))
        assert found == {(1, 2): [3], (4, 5): [6]}


def test_a_cut_gzip_stream_is_told_with_its_line(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"{i}\t{i}\t{i}\n" for i in range(50_000)).encode())
    (tmp_path / "t.tsv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"t.tsv:\d+: the gzip stream is cut short"):
        sample_triples(tmp_path / "t.tsv", 10, 1, BadRows(strict=True))


def test_items_are_parallel_with_hard_negatives(tmp_path: Path) -> None:
    FIXTURES["mmarco"].write(tmp_path, "mmarco")
    found = read(tmp_path, hard_negatives=2)
    assert found.languages == ("ar", "de", "en", "zh")
    assert [item.id for item in found.items] == [f"{1_185_000 + n}-{7_000_000 + n}" for n in range(len(TITLES))]
    for number, item in enumerate(found.items):
        for code in found.languages:
            pair = item.texts[code]
            assert (pair.question, pair.passage) == FACTS[code][number][1:]
            assert pair.passage_id == f"{code}/{7_000_000 + number}"
            assert len(set(pair.negatives)) == 2
            for passage_id in pair.negatives:
                other = int(passage_id.removeprefix(f"{code}/")) - 7_000_000
                assert found.negatives[passage_id] == FACTS[code][other][2]
    assert set(found.negatives) == {n for item in found.items for pair in item.texts.values() for n in pair.negatives}
    assert len(found.negatives) == len(set(found.negatives))


def test_the_limit_is_one_on_items(tmp_path: Path) -> None:
    FIXTURES["mmarco"].write(tmp_path, "mmarco")
    every = {item.id for item in read(tmp_path).items}
    some = read(tmp_path, limit=2, languages=("en",))
    assert len(some.items) == 2
    assert {item.id for item in some.items} < every
    assert some.items[-1] == some.items[1]
    assert list(some.items[:]) == list(some.items)


def test_files_may_lie_side_by_side(tmp_path: Path) -> None:
    fixture = FIXTURES["mmarco"]
    fixture.write(tmp_path / "hub", "mmarco")
    (tmp_path / "flat").mkdir()
    for name, content in fixture.files.items():
        (tmp_path / "flat" / name.rpartition("/")[2]).write_bytes(content)
    config = DatasetConfig(dataset="mmarco", path=str(tmp_path / "flat"))
    assert Mmarco().available_languages(config) == ("ar", "de", "en", "zh")
    assert list(read(tmp_path / "flat").items) == list(read(tmp_path / "hub").items)


def test_texts_that_the_triples_name_must_be_there(tmp_path: Path) -> None:
    FIXTURES["mmarco"].write(tmp_path, "mmarco")
    collection = tmp_path / "data/google/collections/german_collection.tsv"
    lines = collection.read_bytes().splitlines(keepends=True)
    collection.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(DataError, match=r"german_collection.tsv:end: has no line with the id 7000001"):
        read(tmp_path)
    found = read(tmp_path, bad_rows="skip", hard_negatives=3)
    assert [sorted(item.texts) for item in found.items] == [["ar", "de", "en", "zh"], ["ar", "en", "zh"]] + [
        ["ar", "de", "en", "zh"]
    ] * (len(TITLES) - 2)
    assert len(found.items[0].texts["en"].negatives) == 3
    assert len(found.items[0].texts["de"].negatives) == 2
    assert "de/7000001" not in found.negatives


def test_an_id_given_twice_is_a_bad_row(tmp_path: Path) -> None:
    FIXTURES["mmarco"].write(tmp_path, "mmarco")
    queries = tmp_path / "data/google/queries/train/english_queries.train.tsv"
    queries.write_bytes(queries.read_bytes() + b"1185000\tagain?\n")
    with pytest.raises(DataError, match=r"english_queries.train.tsv:6: has the id 1185000, which an earlier line has"):
        read(tmp_path)


def test_lines_that_no_triple_names_are_passed_over(tmp_path: Path) -> None:
    FIXTURES["mmarco"].write(tmp_path, "mmarco")
    before = list(read(tmp_path).items)
    collection = tmp_path / "data/google/collections/english_collection.tsv"
    collection.write_bytes(b"1\tnot \xff UTF-8\n" + collection.read_bytes() + b"broken\n")
    assert list(read(tmp_path).items) == before


def test_queries_that_share_a_passage_are_one_article(tmp_path: Path) -> None:
    FIXTURES["mmarco"].write(tmp_path, "mmarco")
    triples = tmp_path / "data/triples.train.ids.small.tsv"
    triples.write_bytes(triples.read_bytes() + b"1185000\t7000001\t7000003\n")
    articles = {item.id: item.article for item in read(tmp_path).items}
    assert len(articles) == len(TITLES) + 1
    assert len(set(articles.values())) == len(TITLES) - 1
    shared = ("1185000-7000000", "1185000-7000001", "1185001-7000001")
    assert len({articles[item] for item in shared}) == 1
