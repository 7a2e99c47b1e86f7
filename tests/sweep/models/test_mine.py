"""``xling mine`` as a user meets it; on a cluster, killed, and what is trained with its negatives."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from commands import Command, kill_all, ray_processes
from small_models import tiny_model

from xling.config.load import load_sweep
from xling.config.schema import DatasetConfig, ModelConfig, TrainingEntry
from xling.data import registry
from xling.data.merge import load_training
from xling.data.mined_file import MANIFEST, ROWS, MinedRow, write_mined
from xling.errors import ConfigError, DataError, XlingError
from xling.languages import LangPair
from xling.mine.choose import Rule
from xling.model.source import load_start, save_folder
from xling.model.tokenizer import ensure_tokenizer
from xling.storage import Storage
from xling.sweep.launching.prepare import prepare
from xling.sweep.models.mine import Request, sweep_entries
from xling.sweep.models.sources import ModelSource
from xling.sweep.registered import check_registered
from xling.sweep.study import build_study
from xling.train.inputs import load_inputs, load_start_model

DOCS = Path(__file__).resolve().parents[3] / "docs" / "hard_negatives.md"
GEO = DatasetConfig(dataset="geo", languages=("de", "en"))
MINE = ("mine", "geo", "--languages", "de,en", "--out", "mined")
SWEEP = """\
name: small
model: {preset: tiny}
data: {train: {dataset: geo, languages: [de, en]}}
grid:
  - data.train.mined: [null, mined]
    train.hard_negatives: [0, 2]
"""


@pytest.fixture
def xling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a command in an empty folder; errors come as they are."""
    from xling import cli

    monkeypatch.chdir(tmp_path)
    return lambda *arguments: cli.app(list(arguments), standalone_mode=False)


@pytest.mark.parametrize(("address", "expected"), [(None, "model"), ("head:6379", "runs/hub-models/")])
def test_tasks_of_a_cluster_are_told_where_they_find_a_hub_model(
    xling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None, expected: str
) -> None:
    """The cluster itself is left out."""
    asked: list[str] = []

    def find(candidates, pairs, rule, tokens, settings, place, store, load, **others):
        asked.append(load.args[0])
        raise DataError("no further")

    save_folder(tmp_path / "model", tiny_model(tmp_path / "tokenizer"))
    source = ModelSource(lambda: nullcontext(tmp_path / "model"), of_hub=True)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("xling.sweep.models.mine.ray_cluster", lambda address: nullcontext())
    monkeypatch.setattr("xling.sweep.models.mine.Cluster.room", lambda place: 1)
    monkeypatch.setattr("xling.sweep.models.mine.single_source", lambda *of, **others: ("org/encoder", source))
    monkeypatch.setattr("xling.sweep.models.mine.mine", find)
    with pytest.raises(DataError, match="no further"):
        xling(*MINE, "--model", "org/encoder", *(("--address", address) if address else ()))
    assert len(asked) == 1
    assert asked[0].startswith(str(tmp_path / expected))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((*MINE, "--model", "tiny"), "--model is 'tiny', a preset without weights, must be a trained encoder"),
        ((*MINE, "--model", "./none"), "model folder ./none does not exist"),
        ((*MINE, "--model", "x", "--within", "X-Z"), "--within is 'X-Z', must be X-X or X-Y"),
        ((*MINE, "--model", "x", "--within", "X-X", "--pairs", "de-en"), "--within and --pairs exclude each other"),
        ((*MINE, "--model", "x", "--pairs", "de"), "--pairs 'de' is not a language pair"),
        ((*MINE, "--model", "x", "--ranks", "10"), "--ranks is '10', must be two ranks joined by a hyphen"),
        ((*MINE, "--model", "x", "--ranks", "20-10"), "--ranks is 20-10, must rise from 1 on"),
        ((*MINE, "--model", "x", "--ranks", "0-10"), "--ranks is 0-10, must rise from 1 on"),
        ((*MINE, "--model", "x", "--ranks", "1-5"), "--per-question is 8, must be at most the 5 of --ranks"),
        ((*MINE, "--model", "x", "--depth", "50"), "--depth is 50, must be at least the last of --ranks, 100"),
        ((*MINE, "--model", "x", "--margin", "-0.1"), "--margin is -0.1, must be within 0..2"),
        ((*MINE, "--model", "x", "--max-share", "95"), "--max-share is 95, must be above 0 and at most 1"),
        ((*MINE, "--model", "x", "--choose", "best"), "--choose is 'best', must be top or random"),
        ((*MINE, "--model", "x", "--seed", "1"), "--seed goes with --choose random"),
        ((*MINE, "--model", "x", "--bad-rows", "count"), "--bad-rows is 'count', must be stop or skip"),
        ((*MINE, "--model", "x", "--set", "index.kind=tree"), "--set: index.kind"),
        ((*MINE, "--model", "x", "--limit", "5"), "--limit is given, but geo does not take it"),
        (("mine", "geoo", "--out", "o", "--model", "."), "dataset is 'geoo', must be one of"),
        (("mine", "s.yaml", "--out", "o", "--model", "x", "--limit", "5"), "--limit goes with a data set's name"),
    ],
)
def test_what_is_wrong_is_one_message(xling, arguments: tuple[str, ...], problem: str) -> None:
    with pytest.raises(XlingError) as refusal:
        xling(*arguments)
    assert problem in str(refusal.value)


def test_all_that_contradicts_itself_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refusal:
        Request(True, (LangPair("de", "en"),), Rule(first=1, last=3, margin=3.0), 2)
    assert len(refusal.value.problems) == 4


@pytest.mark.parametrize(
    ("is_cross", "pairs", "expected"),
    [
        (None, "", "en-en de-de"),
        (False, "", "en-en de-de"),
        (True, "", "en-de de-en"),
        (None, "en-de en-en", "en-de en-en"),
    ],
)
def test_which_pairs_are_mined(is_cross: bool | None, pairs: str, expected: str) -> None:
    training = registry.get("geo").load_training(GEO)
    asked = Request(is_cross, tuple(map(LangPair.parse, pairs.split())), Rule(), 1000)
    assert " ".join(map(str, asked.pairs_of(training))) == expected


def test_pairs_that_the_set_has_not_are_refused() -> None:
    training = registry.get("geo").load_training(DatasetConfig(dataset="geo", languages=("de",)))
    with pytest.raises(ConfigError, match="--pairs is 'en', must be one of de"):
        Request(None, (LangPair("en", "de"),), Rule(), 1000).pairs_of(training)
    with pytest.raises(ConfigError, match="no item of geo is in two languages; use X-X"):
        Request(True, (), Rule(), 1000).pairs_of(training)


def test_a_sweeps_training_sets_are_mined_without_what_was_mined_before(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SWEEP)
    assert sweep_entries(load_sweep(Path("small.yaml"))) == [TrainingEntry(dataset="geo", languages=("de", "en"))]
    Path("two.yaml").write_text(SWEEP.replace("data.train.mined: [null, mined]", "data.train.languages: [[de], [en]]"))
    with pytest.raises(ConfigError, match=r"two.yaml: its cells train on 2 different data; name a data set"):
        sweep_entries(load_sweep(Path("two.yaml")))


def test_cells_with_and_without_differ_in_the_negatives_alone(tmp_path: Path) -> None:
    training = registry.get("geo").load_training(GEO)
    item, *others = (item.texts["en"].passage_id for item in training.items[:4])
    rows = [MinedRow(training.items[0].id, LangPair("de", "en"), 0.5, tuple(others), (0.25, 0.25, 0.125))]
    about = {"training": {"name": training.name, "fingerprint": training.fingerprint}}
    write_mined(Storage(str(tmp_path / "mined")), (row.to_line() for row in rows), about)
    warm = SWEEP.replace("{preset: tiny}", "{preset: tiny, warm_start: {steps: 5}}")
    (tmp_path / "both.yaml").write_text(warm.replace("mined]", f"{tmp_path / 'mined'}]"))
    (tmp_path / "plain.yaml").write_text(warm.partition("grid:")[0])
    both, plain = (build_study(load_sweep(tmp_path / name).cells) for name in ("both.yaml", "plain.yaml"))
    without, with_them = both.cells
    assert without.id == plain.cells[0].id
    assert without.id != with_them.id
    assert without.training != with_them.training
    assert [job.id for job in (*both.warm, *both.baselines)] == [job.id for job in (*plain.warm, *plain.baselines)]
    assert both.training_of(without).negatives == {}
    assert set(both.training_of(with_them).negatives) == set(others)
    assert item not in both.training_of(with_them).negatives
    root = Storage(str(tmp_path / "runs"))
    prepare(root, "both", both, [*both.warm, *both.baselines, *both.cells], lambda line: None)
    assert len(root.list("tokenizers")) == 1
    start = load_start_model(root, with_them.config, texts=with_them.texts, weights=with_them.weights, warm=None)
    inputs = load_inputs(root, with_them.training, start, with_them.config)
    english = training.languages.index("en")
    assert len(inputs.tokens.negatives(0, english)) == len(inputs.negative_keys_N) == 3


def test_the_sweeps_of_the_docs_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("mined/within", "mined/across"):
        Path(folder).mkdir(parents=True)
    cells = []
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)):
        Path(f"{number}.yaml").write_text(text)
        cells.append(len(load_sweep(Path(f"{number}.yaml"), (), [check_registered]).cells))
    assert cells == [1, 6]


def folder_of_weights(folder: Path, preset: str = "tiny") -> Path:
    """An encoder as it begins, with geo's tokenizer."""
    storage = Storage(str(folder / "tokenizer"))
    ensure_tokenizer(storage, registry.get("geo").load_training(GEO))
    (tokenizer,) = (folder / "tokenizer" / "tokenizers").iterdir()
    settings = ModelConfig(preset=preset, max_query_tokens=48, max_passage_tokens=48)
    save_folder(folder / "model", load_start(settings, 0, tokenizer))
    return folder / "model"


def run(folder: Path, *arguments: str) -> dict:
    command = Command(*arguments, "--json", folder=folder)
    out, _ = command.process.communicate()
    assert command.process.returncode == 0, out
    return json.loads(out[out.index("{") :])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_mine_that_was_killed_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    model = str(folder_of_weights(tmp_path, "mid"))
    pairs = ("--pairs", "de-de,en-de,de-en", "--margin", "0.0", "--ranks", "2-60", "--choose", "random", "--seed", "3")
    before = ray_processes()
    killed = Command(*MINE, "--model", model, *pairs, folder=tmp_path)
    shards = tmp_path / "runs" / "embeddings"
    while not list(shards.glob("*/*.json")):
        assert killed.process.poll() is None, killed.process.communicate()[0]
        time.sleep(0.02)
    os.kill(killed.process.pid, signal.SIGKILL)
    kill_all(ray_processes() - before)
    killed.process.wait()
    assert not (tmp_path / "mined" / MANIFEST).exists()
    # A block is kept once its description is there too, the last of it to be written.
    blocks = [file.with_suffix(".npy") for file in shards.glob("*/*.json")]
    kept = {file: file.stat().st_mtime_ns for file in blocks}
    assert kept

    keep = ("--set", "keep_embeddings=true")
    told = run(tmp_path, *MINE, "--model", model, *pairs, *keep)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept, "what was encoded was encoded again"
    assert set(told["counts"]) == {"de-de", "en-de", "de-en"}
    assert not list(shards.glob("*/mined-*")), "blocks stay where the mine is finished"

    other = tmp_path / "other"
    other.mkdir()
    run(other, *MINE, "--model", model, *pairs, "--workers", "1")
    assert not list((other / "runs" / "embeddings").glob("*/*"))
    for name in (ROWS, MANIFEST):
        assert (other / "mined" / name).read_bytes() == (tmp_path / "mined" / name).read_bytes()

    rows = [json.loads(line) for line in gzip.decompress((other / "mined" / ROWS).read_bytes()).splitlines()]
    assert len(rows) == json.loads((other / "mined" / MANIFEST).read_text())["rows"]
    assert all(max(row["scores"]) <= row["positive"] for row in rows)
    assert sum(len(row["negatives"]) for row in rows) == sum(of["negatives"] for of in told["counts"].values())
    with_them = load_training([TrainingEntry(dataset="geo", languages=("de", "en"), mined=str(other / "mined"))])
    first = next(row for row in rows if row["query_language"] == row["passage_language"] == "de")
    item = next(item for item in with_them.items if item.id == first["item"])
    assert set(first["negatives"]) <= set(item.texts["de"].negatives)
    (other / "small.yaml").write_text(SWEEP.replace("mined]", f"{other / 'mined'}]"))
    plain, mined = build_study(load_sweep(other / "small.yaml").cells).cells
    assert plain.training == registry.get("geo").load_training(GEO).fingerprint
    assert mined.training == with_them.fingerprint
    assert plain.id != mined.id
