"""Models as they are named on the command line: what a preset, a hub id and a cell's label stand for."""

import shutil

import huggingface_hub
import preset_folders
import pytest
import torch
from preset_folders import LAYOUTS
from small_models import TEXTS, embed
from small_sweeps import cell_folder, end_as, finish, load

from xling.errors import CheckpointError, ConfigError
from xling.evaluate.blocks import model_at
from xling.model.layout import TextSettings
from xling.model.source import load_folder
from xling.storage import Storage
from xling.sweep.cells import Outcome
from xling.sweep.models.sources import model_sources
from xling.sweep.outcome.named_results import find_results
from xling.sweep.remembered import remember
from xling.sweep.selection import find_job, find_stored, stored_jobs
from xling.sweep.upkeep.garbage import Asked, survey

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
E5 = "intfloat/multilingual-e5-base"


@pytest.fixture
def in_hub_cache(tmp_path, monkeypatch):
    """Puts a model of E5's layout into a hub cache under an id; there is no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setitem(preset_folders.SHAPE, "max_position_embeddings", 300)
    folder = LAYOUTS["e5-base"](tmp_path / "published")

    def put(hub_id):
        repository = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
        shutil.copytree(folder, repository / "snapshots" / COMMIT)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(COMMIT)
        return folder

    return put


def loaded(name, root):
    ((known, source),) = model_sources(name, root).items()
    assert known == name
    with source.folder() as folder:
        return load_folder(folder)


@pytest.mark.parametrize("name", [E5, "e5-base"])
def test_a_presets_hub_id_and_its_name_have_its_prefixes(in_hub_cache, tmp_path, name):
    folder = in_hub_cache(E5)
    found = loaded(name, Storage(str(tmp_path / "runs")))
    assert found.settings == TextSettings("query: ", "passage: ", 96, 256, "mean")
    assert torch.equal(embed(found, list(TEXTS)), embed(load_folder(folder), list(TEXTS)))


def test_tasks_elsewhere_find_a_hub_model_on_the_storage(in_hub_cache, tmp_path, monkeypatch):
    in_hub_cache(E5)
    root, copied, upload = Storage(str(tmp_path / "runs")), [], Storage.upload
    monkeypatch.setattr(Storage, "upload", lambda self, *of: (copied.append(of), upload(self, *of)))
    source = model_sources(E5, root)[E5]
    with source.folder() as folder:
        assert source.for_tasks(folder, root, here=True) == str(folder)
        url = source.for_tasks(folder, root, here=False)
    with source.folder() as folder:
        assert source.for_tasks(folder, root, here=False) == url
    assert len(copied) == 1
    assert url.startswith(root.locate("hub-models/"))
    assert model_at(url, "a call", False).settings.query_prefix == "query: "
    root.write("small/sweep.yaml", b"")
    (piece,) = survey(root, "small", Asked(caches=True)).goes
    assert (root.locate(piece.path), piece.kind) == (url, "copies of hub models")


def test_a_copy_that_was_cut_short_is_made_again(in_hub_cache, tmp_path):
    in_hub_cache(E5)
    root = Storage(str(tmp_path / "runs"))
    source = model_sources(E5, root)[E5]
    for _ in range(2):
        with source.folder() as folder:
            url = Storage(source.for_tasks(folder, root, here=False))
            assert url.exists("model.safetensors")
        for name in ("copied.json", "model.safetensors"):
            url.delete(name)


def test_a_folder_that_a_node_lacks_is_one_message(tmp_path):
    with pytest.raises(CheckpointError, match=f"{tmp_path}/gone is not on the node .*, must be on every node"):
        model_at(str(tmp_path / "gone"), "a call", False)


def test_another_hub_model_is_what_its_own_files_say(in_hub_cache, tmp_path):
    folder = in_hub_cache("org/encoder")
    found = loaded("org/encoder", Storage(str(tmp_path / "runs")))
    assert found.settings == load_folder(folder).settings == TextSettings("query: ", "passage: ", 64, 64, "mean")


# --- cells of a sweep whose file was changed


@pytest.fixture
def changed(tmp_path):
    """The storage, the cells of a sweep, and those of its file as it was changed later; all are done."""
    loaded, before, root = load(tmp_path)
    _, now, _ = load(tmp_path, "train.lr=1e-2")
    remember(root, loaded)
    for study, cross in ((before, 0.6), (now, 0.4)):
        for job in study.cells:
            finish(root, job, cross=cross)
    assert [job.label for job in before.cells] == [job.label for job in now.cells]
    return root, before.cells, now.cells


def test_all_cells_of_a_changed_sweep_are_those_begun_last(changed):
    root, _, now = changed
    assert {name: source.job.id for name, source in model_sources("small", root).items()} == {
        job.label: job.id for job in now
    }


def test_a_label_names_the_cell_begun_last_and_an_id_any(changed):
    root, (old, *_), (new, *_) = changed
    for name, expected in ((new.label, new), (new.id, new), (old.id, old)):
        ((_, source),) = model_sources(f"small/{name}", root).items()
        assert source.job.id == expected.id
        with source.folder() as folder:
            assert source.for_tasks(folder, root, here=False) == root.locate(f"{expected.folder('small')}/model")
        (load_result,) = find_results(f"small/{name}", root.url).values()
        assert load_result().headline["mAP/Cr"] == (0.4 if expected is new else 0.6)


def test_a_cell_that_is_being_trained_again_is_not_taken_for_the_one_before(changed, tmp_path):
    root, *_ = changed
    _, next_one, _ = load(tmp_path, "train.lr=2e-2")
    job = next_one.cells[0]
    cell_folder(root, job).storage.write("cell.json", job.to_json().encode())
    end_as(root, job, Outcome.INTERRUPTED)
    with pytest.raises(ConfigError, match=f"{job.id}.*is not trained yet.*xling resume small --cell {job.label}"):
        model_sources(f"small/{job.label}", root)
    assert job.label not in model_sources("small", root)


def test_what_repeats_a_label_still_is_told_apart_by_its_id(tmp_path):
    loaded, study, root = load(tmp_path)
    _, other, _ = load(tmp_path, "model.query_prefix='ask: '")
    remember(root, loaded)
    starts = [study.baselines[0], other.baselines[0]]
    for job in starts:
        finish(root, job)
    with pytest.raises(ConfigError) as refusal:
        find_stored(root, "small", stored_jobs(root, "small"), "tiny/start")
    assert all(f"tiny/start (id {job.id})" in str(refusal.value) for job in starts)
    assert set(model_sources("small", root)) == {f"tiny/start-{job.id}" for job in starts}
    with pytest.raises(ConfigError, match="tiny/start, mini/start"):
        find_job(study.scored, "none")


def test_a_label_keeps_the_weights_of_all_its_cells(changed):
    root, (old, *_), (new, *_) = changed
    for job in (old, new):
        cell_folder(root, job).storage.write("model/config.json", b"{}")
    goes = {piece.path for piece in survey(root, "small", Asked(models=True)).goes if piece.kind == "models"}
    assert goes == {f"{job.folder('small')}/model" for job in (old, new)}
    assert not survey(root, "small", Asked(models=True, keep=(old.label,))).goes
