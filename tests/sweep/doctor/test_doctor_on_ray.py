"""``xling doctor`` on a real cluster whose nodes are unlike: what is wrong with each is found, by its name."""

import json
import os
import signal
import tempfile
from pathlib import Path

import pytest
from chaos_processes import Cluster, Processes, below
from commands import Command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SWEEP = """
name: small
storage: {storage}
data:
  train: {{dataset: geo, languages: [de, en]}}
  evaluate: [{{dataset: geo, languages: [de, en]}}]
model: {{preset: tiny}}
"""
OWN_DISK = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"']


def other_version(folder: Path, package: str) -> str:
    """A path before all others, on which a package is said to be installed in another version."""
    about = folder / f"{package}-0.0.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.0.1\n")
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", str(Path(__file__).parents[3]))])


def doctor(cluster: Cluster, *arguments: str) -> tuple[int, dict[str, dict]]:
    """Exit status, and the findings by their names."""
    command = Command("doctor", *arguments, "--address", cluster.address, "--json", **cluster.environment)
    status = command.finish()
    text = "".join(command.lines)
    said = json.loads(text[text.index("{") :])
    return status, {f"{one['group']}: {one['check']}": one for one in said["findings"]}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a node a disk of its own")
def test_what_is_wrong_with_each_node_is_found_and_keeps_a_sweep_from_starting(tmp_path):
    storage = tmp_path / "runs"
    storage.mkdir()
    file = tmp_path / "small.yaml"
    file.write_text(SWEEP.format(storage=storage))
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as short, Processes() as processes:
        cluster = Cluster(processes, Path(short) / "ray", nodes=1)
        status, found = doctor(cluster, str(file))
        assert status == 0, found
        bad = {name: one["seen"] for name, one in found.items() if one["state"] in ("failed", "warning")}
        assert not bad.keys() - {"machines: shared memory"}, "two good nodes"
        assert found["nodes: every node answers"]["seen"] == "2 nodes"
        assert found["nodes: token authentication"]["state"] == "ok"
        assert found["nodes: clocks agree"]["state"] == "ok"
        assert found["storage: one and the same"]["state"] == "ok"
        assert os.listdir(storage) == []

        unlike = cluster.start_node(
            within=[*OWN_DISK, str(storage)], PYTHONPATH=other_version(tmp_path / "other", "pyarrow")
        )
        unlike.wait()
        status, found = doctor(cluster, str(file))
        assert status == 1
        third = ["127.0.0.4"]
        assert found["storage: one and the same"]["nodes"] == third
        assert found["storage: one and the same"]["seen"] == f"{storage} is another place on 127.0.0.4"
        assert found["storage: every node can write"]["state"] == "ok"
        assert found["packages: equal versions"]["nodes"] == third
        assert "0.0.1 on 127.0.0.4" in found["packages: equal versions"]["seen"]

        refused = Command("sweep", str(file), "--address", cluster.address, "--json", **cluster.environment)
        assert refused.finish() == 2, refused.tail()
        text = refused.tail()
        assert "the cluster cannot run this sweep" in text
        assert "is another place on 127.0.0.4; set `storage:` to a folder that all nodes share" in text
        assert "pyarrow" in text

        (raylet,) = [pid for pid, line in below(unlike.process.pid).items() if "/raylet/raylet " in line]
        for pid in (raylet, *below(raylet)):
            os.kill(pid, signal.SIGSTOP)
        status, found = doctor(cluster, "--timeout", "20")
        assert status == 1
        assert found["nodes: every node answers"]["seen"] == "127.0.0.4: no answer within 20 s"
        assert found["packages: equal versions"]["state"] == "ok"
        assert found["storage: one and the same"]["state"] == "not applicable"
