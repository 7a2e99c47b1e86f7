"""Names that others wrote, on storage, in model folders or on the command line, lead nowhere else."""

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sweeps import load
from xling.sweep.remembered import remembered

from xling.config.labels import make_unique, model_names
from xling.config.schema import ModelConfig
from xling.data.stored import load_retrieval, store_retrieval
from xling.errors import CheckpointError, ConfigError, DataError, ResourceError
from xling.model.layout import read_layout
from xling.storage import Storage
from xling.sweep.selection import stored_jobs
from xling.track.deliver import Delivery
from xling.track.spool import Spool

PARTS = st.sampled_from(["..", ".", "", "a", "…", "a\0b", "~", "C:", "..."])


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """Deep enough that a path of a few ``..`` would be seen above it."""
    return Storage(str(tmp_path_factory.mktemp("storage") / "a/b/c/root"))


def all_files(folder):
    return {file for file in Path(folder).rglob("*") if file.is_file()}


@settings(max_examples=40)
@given(st.lists(PARTS, min_size=1, max_size=6).map("/".join))
def test_no_path_leads_out_of_a_storage(storage, path):
    root = Path(storage.url)
    above = root.parents[3]
    outside = all_files(above) - all_files(root)
    calls = [
        lambda: storage.write(path, b"x"),
        lambda: storage.create(path, b"x"),
        lambda: storage.put(Path(__file__), path),
        lambda: storage.child(path).write("a", b"x"),
        lambda: storage.delete(f"{path}/gone"),
    ]
    for call in calls:
        if ".." in path.split("/") or "\0" in path:
            with pytest.raises(ResourceError, match=r"leads out of the storage"):
                call()
        else:
            with suppress(OSError, ResourceError):  # a folder is there, or the name is none (C:// is no storage)
                call()
    assert all_files(above) - all_files(root) == outside


def test_reading_and_listing_lead_nowhere_else_either(storage):
    Path(storage.url).mkdir(parents=True, exist_ok=True)
    (Path(storage.url).parent / "secret").write_text("x")
    for call in (storage.read, storage.list, storage.exists, storage.files, storage.locate, storage.delete):
        with pytest.raises(ResourceError, match=r"'\.\./secret' leads out of the storage"):
            call("../secret")
    with pytest.raises(ResourceError), storage.local_copy("../secret"):
        pass
    assert (Path(storage.url).parent / "secret").exists()


def test_an_object_whose_name_leads_out_is_not_copied(s3_url, tmp_path, monkeypatch):
    """A bucket takes any name for an object."""
    import tempfile

    storage = Storage(s3_url)
    storage.write("model/a", b"a")
    root = storage._root
    storage._fs.pipe_file(f"{root}/model/../../../escaped", b"x")
    storage._fs.pipe_file(f"{root}/model/sub/../../../../escaped", b"x")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    with storage.local_copy("model") as folder:
        assert all_files(tmp_path) == {folder / "a"}
    assert [file.path for file in storage.files("model")] == ["model/a"]


def test_links_are_not_followed_where_files_are_listed_or_deleted(tmp_path):
    storage, elsewhere = Storage(str(tmp_path / "root")), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("x")
    storage.write("f/own", b"x")
    os.symlink(elsewhere, tmp_path / "root/f/link")
    os.symlink(elsewhere / "mine", tmp_path / "root/f/file")
    assert [file.path for file in storage.files()] == ["f/own"]
    storage.delete("f/link")
    storage.delete("f")
    assert storage.list() == []
    assert (elsewhere / "mine").read_text() == "x"


@pytest.mark.parametrize("name", ["..", "../small", "a/../..", "/etc", "small/cells"])
def test_a_sweeps_name_is_no_path(tmp_path, name):
    with pytest.raises(ConfigError, match=r"must be that of a folder of the storage|there is no sweep"):
        remembered(str(tmp_path), name).__enter__()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "../x"),
        ("label", "tiny/../../x"),
        ("label", "/tiny"),
        ("warm", ".."),
        ("evaluations", [["e", "../x", "f"]]),
    ],
)
def test_a_stored_cell_names_nothing_outside(tmp_path, field, value):
    _, study, root = load(tmp_path)
    for job in study.scored:
        root.write(f"small/cells/{job.id}/cell.json", job.to_json().encode())
    assert {job.id for job in stored_jobs(root, "small")} == {job.id for job in study.scored}
    values = {**json.loads(study.cells[0].to_json()), field: value}
    root.write_json("small/cells/other/cell.json", values)
    with pytest.raises(DataError, match=r"other/cell\.json names .*, must be letters, digits"):
        stored_jobs(root, "small")


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_what_models_are_called_is_a_name_of_a_folder(paths):
    models = [ModelConfig(path=path) for path in paths]
    for label in make_unique(model_names(models)):
        assert label not in (".", "..")
        assert "/" not in label
        assert label.isascii()


@pytest.mark.parametrize(
    "file", ["../victim/x", "files/../../victim/x", "files/ab/..", "files/cd/x", "/etc/passwd", "files/ab/../../x"]
)
def test_a_spool_of_others_sends_and_deletes_nothing_outside(tmp_path, file):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/x").write_text("x")
    spool = Spool(tmp_path / "spool")
    (tmp_path / "spool/files").mkdir()
    os.symlink(tmp_path / "victim", tmp_path / "spool/files/cd")
    spool.append("artifact", file=file, to="")
    said: list[str] = []
    Delivery(spool, None, said.append)._log_artifact(None, "run", file, "")
    spool.unstage(file)
    assert "lies outside the spool" in said[0]
    assert (tmp_path / "victim/x").exists()
    assert (tmp_path / "spool/spool.jsonl").exists()


@pytest.mark.parametrize("path", ["../other", "/etc", "a/../../b"])
def test_a_model_folder_names_nothing_outside(tmp_path, path):
    kinds = [(path, "Transformer"), ("1_Pooling", "Pooling")]
    listed = [{"path": where, "type": f"sentence_transformers.models.{kind}"} for where, kind in kinds]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(CheckpointError, match=r"modules\.json names .*, must be a path inside the folder"):
        read_layout(tmp_path)
    (tmp_path / "modules.json").unlink()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": path}}))
    with pytest.raises(CheckpointError, match=r"index\.json names .*, must be a path inside the folder"):
        read_layout(tmp_path)


def test_a_stored_set_names_no_file_of_another_folder(s3_url, tmp_path, monkeypatch):
    monkeypatch.setenv("XLING_CACHE", str(tmp_path / "cache"))
    _, study, _ = load(tmp_path)
    retrieval, storage = next(iter(study.retrievals.values())), Storage(s3_url)
    store_retrieval(storage, retrieval)
    path = f"data/{retrieval.fingerprint}/set.json"
    about = storage.read_json(path)
    storage.write_json(path, {**about, "corpora": {"de": {"digest": "../../victim", "size": 1}}})
    with pytest.raises(DataError, match="must be hexadecimal"):
        load_retrieval(storage, retrieval.fingerprint)
    storage.write_json(path, {**about, "corpora": {"/../../../x": {"digest": "ab", "size": 1}}})
    with pytest.raises(ResourceError, match="leads out of the storage"):
        load_retrieval(storage, retrieval.fingerprint)


def test_ids_of_questions_and_passages_are_no_names_of_files(tmp_path):
    rows = tmp_path / "rows.jsonl"
    texts = {code: {"question": f"{code}?", "passage": f"{code}."} for code in ("de", "en")}
    names = [f"../../../{letter}" for letter in "ABCDEFGHIJKL"]
    rows.write_text("".join(json.dumps({"id": name, "title": name, "texts": texts}) + "\n" for name in names))
    from xling.config.schema import DatasetConfig
    from xling.data import registry

    before = all_files(tmp_path)
    retrieval = registry.get("parallel-jsonl").load_evaluation(DatasetConfig(dataset="parallel-jsonl", path=str(rows)))
    storage = Storage(str(tmp_path / "deep/er/root"))
    store_retrieval(storage, retrieval)
    assert all(file.is_relative_to(storage.url) for file in all_files(tmp_path) - before)
    assert load_retrieval(storage, retrieval.fingerprint).queries == retrieval.queries
