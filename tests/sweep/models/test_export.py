"""``xling export``: what it writes, and that other libraries and our own evaluation find the same model in it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Command
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from small_sweeps import cell_folder, end_as, load
from transformers import AutoModel, AutoTokenizer

from xling import cli
from xling.config.schema import EvaluationConfig
from xling.data.tokenize import token_ids, tokenize_retrieval
from xling.errors import ConfigError
from xling.evaluate.encode import FlatTokens, encode
from xling.evaluate.pairs import evaluate_local
from xling.evaluate.result import EvaluationResult
from xling.model.source import LoadedModel, load_folder, save_folder
from xling.model.tokenizer import tokenizer_digest
from xling.report.model_card import model_card
from xling.storage import Storage
from xling.sweep.cells import Outcome
from xling.sweep.launching.prepare import prepare
from xling.sweep.models.export import card_facts
from xling.sweep.models.sources import ModelSource
from xling.sweep.remembered import remember
from xling.sweep.trials.workers import worker_spec
from xling.train.inputs import trained_languages
from xling.train.worker import run

TEXTS = ("de question A 1?", "en passage B 2.", "de passage C 0.", "en question J 2?", "A B C", "这是")
LONG = "de question of more words than sixteen or even twenty four tokens can hold, A 1 B 2 C 3 D 4 E 5 F 6?"


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """A cell that was trained a few steps and scored in this process: the sweep's file, the storage, the job."""
    folder = tmp_path_factory.mktemp("cell")
    own = ("model.preset=tiny", "model.query_prefix='ask: '", "model.max_passage_tokens=24", "train.lr=3e-3")
    loaded, study, root = load(folder, "grid=[]", *own, "mix.monolingual=0.5")
    (job,) = study.cells
    prepare(root, "small", study, [job], lambda line: None)
    threads = torch.get_num_threads()
    end_as(root, job, Outcome.DONE)
    run(worker_spec(job, root.url, job.folder("small")), rank=0, world_size=1, device=torch.device("cpu"), send=silent)
    torch.set_num_threads(threads)
    model = load_folder(Path(root.locate(job.folder("small"))) / "model")
    (evaluation,) = job.evaluations
    result = scored(root, model, study.retrievals[evaluation.fingerprint])
    result = replace(result, trained_languages=("de", "en"))
    result.save(cell_folder(root, job).storage.child(f"eval/{evaluation.id}"))
    remember(root, loaded)
    return loaded, study, root, job


def silent(message):
    del message


def scored(root: Storage, model: LoadedModel, retrieval) -> EvaluationResult:
    tokens = tokenize_retrieval(root, model.tokenizer, tokenizer_digest(model.tokenizer), retrieval, model.settings)
    return evaluate_local(model, retrieval, tokens, EvaluationConfig())


def embed(model: LoadedModel, texts, max_tokens: int, prefix: str) -> np.ndarray:
    ids = token_ids(model.tokenizer, texts, max_tokens, prefix)
    flat = FlatTokens.of([np.array(one, np.int32) for one in ids])
    return encode(model.encoder, flat, batch_size=64, batch_tokens=4096, pad_id=model.tokenizer.pad_token_id)


@pytest.fixture
def xling(tmp_path, monkeypatch):
    """Runs a command in an empty folder; errors come as they are."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: cli.app([str(argument) for argument in arguments], standalone_mode=False)


@pytest.fixture
def exported(cell, xling, tmp_path):
    _, _, root, job = cell
    xling("export", f"small/{job.label}", "out/winner", "--storage", root.url)
    return tmp_path / "out" / "winner"


def test_sentence_transformers_and_transformers_load_what_is_exported(cell, exported):
    _, _, root, job = cell
    ours = load_folder(Path(root.locate(job.folder("small"))) / "model")
    theirs = SentenceTransformer(str(exported), device="cpu")
    assert max(map(len, token_ids(ours.tokenizer, TEXTS, 100, "ask: "))) <= 16, "a query is cut: the limits differ"
    assert len(ours.tokenizer(LONG)["input_ids"]) > 24
    queries, passages = theirs.encode_query(list(TEXTS)), theirs.encode_document([*TEXTS, LONG])
    np.testing.assert_allclose(queries, embed(ours, TEXTS, 16, "ask: "), rtol=0, atol=1e-6)
    np.testing.assert_allclose(passages, embed(ours, [*TEXTS, LONG], 24, ""), rtol=0, atol=1e-6)
    assert theirs.max_seq_length == 24, "the larger of the two limits"
    assert torch.pdist(torch.from_numpy(queries)).min() > 1e-3, "the texts are too alike to tell a wrong embedding"

    backbone, tokenizer = AutoModel.from_pretrained(exported), AutoTokenizer.from_pretrained(exported)
    batch = tokenizer(["ask: " + TEXTS[0]], return_tensors="pt")
    pooled = backbone(**batch).last_hidden_state.mean(dim=1)
    found = torch.nn.functional.normalize(pooled, dim=-1).detach().numpy()
    np.testing.assert_allclose(found, queries[:1], rtol=0, atol=1e-6)


def test_the_round_trip_gives_the_cells_measures(cell, exported):
    _, study, root, job = cell
    (evaluation,) = job.evaluations
    kept = EvaluationResult.load(cell_folder(root, job).storage.child(f"eval/{evaluation.id}"))
    again = scored(root, load_folder(exported), study.retrievals[evaluation.fingerprint])
    assert dict(again.headline) == dict(kept.headline)
    assert again.per_query.equals(kept.per_query)
    assert trained_languages(Storage(str(exported))) == kept.trained_languages == ("de", "en")


def test_what_sentence_transformers_makes_of_it_scores_the_same(cell, exported, tmp_path):
    """Its own folder knows one limit, which no text of the set reaches, and the prefixes as prompts."""
    _, study, root, job = cell
    (evaluation,) = job.evaluations
    kept = EvaluationResult.load(cell_folder(root, job).storage.child(f"eval/{evaluation.id}"))
    SentenceTransformer(str(exported), device="cpu").save(str(tmp_path / "theirs"))
    assert not (tmp_path / "theirs" / "xling.json").exists()
    again = scored(root, load_folder(tmp_path / "theirs"), study.retrievals[evaluation.fingerprint])
    assert dict(again.headline) == pytest.approx(dict(kept.headline), abs=1e-6)


@pytest.mark.slow
def test_xling_evaluate_gives_the_exported_folder_the_cells_measures(cell, exported, tmp_path):
    _, _, root, job = cell
    (evaluation,) = job.evaluations
    kept = EvaluationResult.load(cell_folder(root, job).storage.child(f"eval/{evaluation.id}"))
    data = f"parallel-jsonl={job.config.data.evaluate[0].path}"
    command = Command("evaluate", str(exported), "--dataset", data, "--json", folder=tmp_path)
    out, _ = command.process.communicate(timeout=240)
    assert command.process.returncode == 0, out
    (told,) = json.loads(out[out.index("{") :])["results"]
    assert told["model"] == "winner"
    assert told["headline"] == dict(kept.headline)
    assert told["pairs"] == kept.to_json()["pairs"]
    assert told["trained_languages"] == ["de", "en"]


def test_nothing_but_safetensors_json_and_text_is_written(exported):
    names = {file.relative_to(exported).as_posix() for file in exported.rglob("*") if file.is_file()}
    assert {Path(name).suffix for name in names} == {".safetensors", ".json", ".md"}
    assert {"model.safetensors", "modules.json", "tokenizer.json", "xling.json", "README.md"} <= names
    assert len({file.stat().st_mode for file in exported.rglob("*") if file.is_file()}) == 1, "who may read one may all"
    assert sorted(exported.parent.iterdir()) == [exported], "no other folder is left"


def test_the_card_tells_what_the_model_is(cell, exported):
    _, _, root, job = cell
    card = ModelCard.load(exported / "README.md")
    assert card.data.library_name == "sentence-transformers"
    assert card.data.pipeline_tag == "sentence-similarity"
    assert card.data.language == ["de", "en"]
    assert "sentence-transformers" in card.data.tags
    assert card.data.base_model is None
    assert card.data.license is None
    text = card.content
    (evaluation,) = job.evaluations
    result = EvaluationResult.load(cell_folder(root, job).storage.child(f"eval/{evaluation.id}"))
    figures = [f"{result.headline[name]:.3f}".replace("0.", ".", 1) for name in ("mAP/Mo", "mAP/Cr")]
    assert "| mAP | " + " | ".join(figures) in text
    for said in (
        f"fingerprint {job.training}",
        "| alpha | 0.5, ",
        "| seed | 0 |",
        "| steps | 12 of 12 |",
        "| peak learning rate, temperature | 0.003, 0.05 |",
        f"Data fingerprint `{result.fingerprint}`",
        '`encode_query` puts `"ask: "` before each text',
        "cut queries after 16 and passages after 24",
        "| training data parallel-jsonl | your own |",
        "check them at their sources",
        f"torch {torch.__version__.partition('+')[0]}",
    ):
        assert said in text, said


def test_a_hub_models_card_names_it_and_its_licence(cell):
    _, _, root, job = cell
    folder = cell_folder(root, job).storage
    loaded = load_folder(Path(folder.url) / "model")

    def facts(weights: str):
        source = ModelSource(None, replace(job, weights=weights), folder)  # type: ignore[arg-type]
        return card_facts("m", loaded, source, ("zh_cn", "zh_tw", "de"))

    known = facts(f"hub:intfloat/multilingual-e5-small@{'0' * 40}")
    assert known.base_model == "intfloat/multilingual-e5-small"
    assert known.licences[0] == ("base model intfloat/multilingual-e5-small", "MIT")
    data = ModelCard(model_card(known)).data
    assert (data.base_model, data.language) == ("intfloat/multilingual-e5-small", ["zh", "de"])
    assert "not known here" in model_card(facts(f"hub:some/one@{'0' * 40}"))


def test_a_folder_that_is_no_cell_is_exported_too(cell, xling, tmp_path, capsys):
    _, _, root, job = cell
    loaded = load_folder(Path(root.locate(job.folder("small"))) / "model")
    save_folder(tmp_path / "mine", loaded)
    weights = tmp_path / "mine" / "model.safetensors"
    torch.save(load_file(weights), tmp_path / "mine" / "pytorch_model.bin")  # weights of the older kind
    weights.unlink()
    xling("export", "mine", "theirs", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "mine"
    assert told["bytes"] == sum(file.stat().st_size for file in Path("theirs").rglob("*") if file.is_file())
    assert not list(Path("theirs").rglob("*.bin"))
    again = load_folder(tmp_path / "theirs")
    assert np.array_equal(embed(again, TEXTS, 24, ""), embed(loaded, TEXTS, 24, ""))
    assert "is no cell of a sweep" in Path("theirs/README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("small", "out", "--storage", "{}"), None),
        (("tiny", "out"), "MODEL is 'tiny', a preset without weights"),
        (("small/none", "out", "--storage", "{}"), "'none' names no cell"),
        (("./gone", "out"), "model folder ./gone does not exist"),
    ],
)
def test_what_may_be_exported(cell, xling, arguments, said):
    _, _, root, _ = cell
    arguments = [argument.format(root.url) for argument in arguments]
    if said is None:
        xling("export", *arguments)  # a sweep of one cell names it
        assert Path("out/README.md").is_file()
        return
    with pytest.raises(ConfigError, match=said):
        xling("export", *arguments)
    assert not Path("out").exists()


def test_a_folder_in_use_is_left_alone(cell, xling, exported):
    _, _, root, job = cell
    again = ("export", f"small/{job.label}", "--storage", root.url)
    (exported / "mine.txt").write_text("kept")
    with pytest.raises(ConfigError, match=r"DIR is .*winner, which holds files, must not exist or be empty; .*--force"):
        xling(*again, exported)
    assert (exported / "mine.txt").read_text() == "kept"
    xling(*again, exported, "--force")
    assert not (exported / "mine.txt").exists()
    assert (exported / "README.md").is_file()
    other = exported.parent / "other"
    other.mkdir()
    xling(*again, other)  # an empty folder is free
    other = exported.parent / "home"
    other.mkdir()
    (other / "letters.txt").write_text("dear")
    with pytest.raises(ConfigError, match="no folder that `xling export` wrote"):
        xling(*again, other, "--force")
    (exported.parent / "file").write_text("")
    with pytest.raises(ConfigError, match="a file, must be a folder"):
        xling(*again, exported.parent / "file", "--force")
    assert {path.name for path in exported.parent.iterdir()} == {"winner", "other", "home", "file"}


def test_an_export_that_breaks_off_leaves_what_was_there(cell, xling, exported, monkeypatch):
    _, _, root, job = cell
    before = (exported / "README.md").read_text()

    def full(facts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xling.sweep.models.export.model_card", full)
    for target in ("winner", "new"):
        with pytest.raises(OSError, match="No space left"):
            xling("export", f"small/{job.label}", f"out/{target}", "--storage", root.url, "--force")
    assert (exported / "README.md").read_text() == before
    assert [path.name for path in exported.parent.iterdir()] == ["winner"]
