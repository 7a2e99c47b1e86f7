"""infra/ray: files of Ray's cluster launcher, read as `ray up` reads them, and held against its schema."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray._private.label_utils import parse_node_labels_from_yaml_file, validate_node_labels
from ray.autoscaler._private.util import prepare_config, validate_config

FOLDER = Path(__file__).resolve().parents[2] / "infra/ray"
FILES = ["aws.yaml", "on-premise.yaml"]


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def test_these_are_all():
    assert sorted(path.name for path in FOLDER.glob("*.yaml")) == FILES


@pytest.mark.parametrize("name", FILES)
def test_ray_takes_it(name):
    prepared = prepare_config(read(name))
    validate_config(prepared)
    assert prepared["available_node_types"][prepared["head_node_type"]]["max_workers"] is not None


def test_a_mistake_would_be_found():
    config = read("aws.yaml")
    config["idle_timeout_minute"] = 5
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        validate_config(prepare_config(config))
    config = read("aws.yaml")
    config["available_node_types"]["small"]["resources"]["GPU"] = "one"
    with pytest.raises(jsonschema.ValidationError, match="one"):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("name", FILES)
def test_the_dashboard_is_on_loopback_and_the_token_is_a_file_of_the_user(name):
    config = read(name)
    (start,) = (line for line in config["head_start_ray_commands"] if "ray start" in line)
    assert "--dashboard-host=127.0.0.1" in start
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
    ((there, here),) = config["file_mounts"].items()
    assert here == "~/.ray/auth_token"
    assert there.endswith("/.ray/auth_token")


def test_on_aws_ray_makes_no_security_group_which_would_let_ssh_in_from_everywhere():
    from ray.autoscaler._private.aws.config import _configure_security_group, _create_default_inbound_rules

    opened = _create_default_inbound_rules(["sg-1"], [])
    assert any(rule["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}] for rule in opened if "IpRanges" in rule)
    config = prepare_config(read("aws.yaml"))
    assert "security_group" not in config["provider"]
    assert _configure_security_group(copy.deepcopy(config)) == config  # of AWS it asks nothing


def test_on_premise_all_machines_are_started_as_the_autoscaler_knows_not_what_they_have():
    config = prepare_config(read("on-premise.yaml"))
    (machine,) = config["available_node_types"].values()
    assert machine["resources"] == {}
    assert machine["min_workers"] == machine["max_workers"] == len(config["provider"]["worker_ips"]) == 3


def test_on_aws_each_model_size_has_spot_machines_that_come_when_asked_for():
    config = prepare_config(read("aws.yaml"))
    types = copy.deepcopy(config["available_node_types"])
    head = types.pop("head")
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert config["idle_timeout_minutes"] > 0
    assert "InstanceMarketOptions" not in head["node_config"]
    assert list(types) == ["small", "base", "large"]
    for size, node_type in types.items():
        assert node_type["labels"] == {"xling-size": size}
        validate_node_labels(node_type["labels"])
        assert node_type["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert node_type["min_workers"] == 0
        assert node_type["max_workers"] >= 1
        assert node_type["resources"]["GPU"] >= 1
        assert node_type["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
    assert sum(node_type["max_workers"] for node_type in types.values()) >= config["max_workers"]


class Machine:
    """What the launcher runs on a machine of its own, by ssh; it has NVIDIA's runtime and a GPU."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def internal_ip(self, node: str) -> str:
        return "10.0.0.2"

    def check_call(self, words: list[str], *arguments: object, **options: object) -> None:
        self.ran.append(" ".join(words))

    def check_output(self, words: list[str], *arguments: object, **options: object) -> bytes:
        self.ran.append(" ".join(words))
        if ".Runtimes" in self.ran[-1]:
            return b"map[nvidia:{nvidia-container-runtime}]"
        return b'["HOME=/home/xling"]' if ".Config.Env" in self.ran[-1] else b""


@pytest.mark.parametrize("kind", ["head", "small", "base", "large"])
def test_on_aws_a_workers_container_is_given_the_machines_gpus(kind):
    from ray.autoscaler._private.command_runner import DockerCommandRunner
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

    config = AutoscalingConfig(read("aws.yaml"), skip_content_hash=True)
    machine = Machine()
    runner = DockerCommandRunner(
        config.get_docker_config(kind),
        log_prefix="",
        node_id="i-1",
        provider=machine,
        auth_config=config.get_config("auth"),
        cluster_name="xling",
        process_runner=machine,
        use_internal_ip=True,
    )
    runner.run_init(as_head=kind == "head", file_mounts={}, sync_run_yet=True)
    (started,) = (line for line in machine.ran if "docker run" in line)
    assert "--runtime=nvidia" in started  # Ray's own doing, by which nothing is seen: no image of ours asks for GPUs
    assert ("--gpus all" in started) is (kind != "head")


def test_on_premise_the_page_stops_the_head_as_the_launcher_does():
    """`ray down` calls a bare `ray`, which such a machine's login shell does not find."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    stop = read("on-premise.yaml")["head_start_ray_commands"][0]
    assert stop.startswith("/")
    assert f"ray exec infra/ray/on-premise.yaml '{stop}'" in page


def test_the_empty_labels_that_a_machine_begins_with_are_read(tmp_path):
    line = next(line for line in read("on-premise.yaml")["setup_commands"] if "ray-labels.yaml" in line)
    path = tmp_path / "ray-labels.yaml"
    path.write_text(line.split("echo '")[1].split("'")[0])
    assert parse_node_labels_from_yaml_file(str(path)) == {}
