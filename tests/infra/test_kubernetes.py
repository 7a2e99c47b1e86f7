"""infra/kuberay: valid for the API's schemas, closed but for what is listed, without root and without secrets."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml
from kuberay import RayCluster, RayClusterSpec, RayJob
from pydantic import ValidationError

FOLDER = Path(__file__).resolve().parents[2] / "infra/kuberay"
KUBERNETES = "1.37"
EXPECTED = {"Namespace", "NetworkPolicy", "PersistentVolumeClaim", "Service", "StatefulSet", "ConfigMap", "Deployment"}
APPLIED_ALONE = {"rayjob.yaml", "mlflow-upgrade.yaml"}  # when they are wanted
Object = dict[str, Any]


def objects() -> list[Object]:
    """All documents, anchors and merges resolved."""
    paths = [path for path in sorted(FOLDER.glob("*.yaml")) if path.name != "kustomization.yaml"]
    return [document for path in paths for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


OBJECTS = objects()
RAY = [one for one in OBJECTS if one["apiVersion"].startswith("ray.io/")]
CORE = [one for one in OBJECTS if one not in RAY]


def title(one: Object) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def ray_spec(one: Object) -> Object:
    return one["spec"] if one["kind"] == "RayCluster" else one["spec"]["rayClusterSpec"]


def templates() -> Iterator[tuple[str, Object]]:
    """Every pod template, and what it is the template of."""
    for one in CORE:
        if "template" in one.get("spec", {}):
            yield title(one), one["spec"]["template"]
    for one in RAY:
        spec = ray_spec(one)
        yield f"{title(one)} head", spec["headGroupSpec"]["template"]
        for group in spec["workerGroupSpecs"]:
            yield f"{title(one)} {group['groupName']}", group["template"]


TEMPLATES = dict(templates())


def validate(one: Object) -> None:
    kubernetes_validate.validate(one, KUBERNETES, strict=True)


@pytest.mark.parametrize("one", CORE, ids=title)
def test_kubernetes_takes_each_object(one):
    validate(one)


def test_the_parts_are_there():
    assert {one["kind"] for one in CORE} == EXPECTED | {"Job"}
    assert [one["kind"] for one in RAY] == ["RayCluster", "RayJob"]
    assert len(TEMPLATES) == 9
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"} - APPLIED_ALONE
    assert set(kustomization["resources"]) == files


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name.startswith("Ray")])
def test_kubernetes_takes_each_pod_of_ray(name):
    """As the template of a PodTemplate, an object of Kubernetes' own."""
    validate({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": TEMPLATES[name]})


def test_kuberay_takes_its_objects():
    assert RayCluster.model_validate(RAY[0])
    assert RayJob.model_validate(RAY[1])
    for one in RAY:
        security = ray_spec(one)["autoscalerOptions"]["securityContext"]
        pod = {"containers": [{"name": "x", "image": "x:1", "securityContext": security}]}
        validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod})


def test_mistakes_would_be_found():
    broken = copy.deepcopy(RAY[0])
    broken["spec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    with pytest.raises(ValidationError, match="maxReplica"):
        RayCluster.model_validate(broken)
    pod = copy.deepcopy(TEMPLATES["Deployment/mlflow"])
    pod["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
        validate({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": pod})


@pytest.mark.parametrize("one", RAY, ids=title)
def test_ray_asks_for_the_token_scales_and_is_the_tested_version(one):
    spec = RayClusterSpec.model_validate(ray_spec(one))
    assert spec.rayVersion == ray.__version__
    assert (spec.authOptions.mode, spec.authOptions.secretName) == ("token", "xling-ray")
    assert spec.enableInTreeAutoscaling
    assert spec.autoscalerOptions
    assert spec.autoscalerOptions.idleTimeoutSeconds
    assert spec.headGroupSpec.rayStartParams["num-cpus"] == "0"
    assert spec.headGroupSpec.serviceType == "ClusterIP"
    assert not spec.headGroupSpec.enableIngress
    for group in spec.workerGroupSpecs:
        assert group.minReplicas == 0
        limits = group.template["spec"]["containers"][0]["resources"]["limits"]
        assert int(limits["nvidia.com/gpu"]) >= 1


def test_the_cluster_has_a_group_for_each_model_size():
    groups = ray_spec(RAY[0])["workerGroupSpecs"]
    assert [group["labels"]["xling-size"] for group in groups] == ["small", "base", "large"]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    gpus = [int(container["resources"]["limits"]["nvidia.com/gpu"]) for container in containers]
    assert gpus == sorted(gpus)


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_pod_is_root_or_may_become_it(name):
    spec = TEMPLATES[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    assert not any("hostPath" in volume for volume in spec["volumes"])
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        tag = container["image"].rpartition(":")[2]  # that of xling is in kustomization.yaml
        assert container["image"] == "xling" or re.match(r"\d+\.\d+", tag), container["image"]


@pytest.mark.parametrize("name", [name for name in TEMPLATES if not name.startswith("Job/")])
def test_what_stays_is_watched(name):
    for container in TEMPLATES[name]["spec"]["containers"]:
        assert container["readinessProbe"]
        assert container["livenessProbe"]


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name.startswith("Ray")])
def test_ray_is_given_the_object_stores_credentials_where_there_are_some(name):
    (container,) = TEMPLATES[name]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "xling-s3", "optional": True}}]


def test_a_folder_on_the_share_is_made_by_the_user_who_writes_there():
    """The kubelet would make that of a subPath as root, and a share's driver would not hand it over."""
    below = 0
    for template in TEMPLATES.values():
        spec = template["spec"]
        first = [container for container in spec.get("initContainers", ()) if container["command"][0] == "mkdir"]
        for mount in (mount for container in spec["containers"] for mount in container["volumeMounts"]):
            if "subPath" in mount:
                below += 1
                (one,) = first
                (root,) = (other for other in one["volumeMounts"] if other["name"] == mount["name"])
                assert one["command"] == ["mkdir", "-p", f"{root['mountPath']}/{mount['subPath']}"]
    assert below == 1


@pytest.mark.parametrize("file", ["network-policy.yaml", "raycluster.yaml", "rayjob.yaml"])
def test_what_is_left_to_be_uncommented_would_be_taken(file):
    lines = (FOLDER / file).read_text(encoding="utf-8")
    uncommented, number = re.subn(r"^( *)# (- to:|  ports:|runtimeClassName:)", r"\1\2", lines, flags=re.MULTILINE)
    assert number
    for one in yaml.safe_load_all(uncommented):
        if one["kind"] == "NetworkPolicy":
            validate(one)
            continue
        for group in ray_spec(one)["workerGroupSpecs"]:
            assert group["template"]["spec"]["runtimeClassName"] == "nvidia"
            validate(
                {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": group["template"]}
            )


@pytest.mark.parametrize("name", [name for name in TEMPLATES if not name.endswith("head")])
def test_only_the_head_may_ask_the_api_server(name):
    assert TEMPLATES[name]["spec"]["automountServiceAccountToken"] is False


def test_secrets_are_references():
    assert not [title(one) for one in OBJECTS if one["kind"] == "Secret"]
    for name, template in TEMPLATES.items():
        for container in template["spec"]["containers"]:
            for variable in container.get("env", ()):
                if re.search("TOKEN|PASSWORD|SECRET|ACCESS_KEY", variable["name"]):
                    assert "value" not in variable, f"{name}: {variable['name']}"
                    assert variable["valueFrom"]["secretKeyRef"]["key"], f"{name}: {variable['name']}"


def test_the_network_is_closed_but_for_what_is_listed():
    policies = {one["metadata"]["name"]: one["spec"] for one in CORE if one["kind"] == "NetworkPolicy"}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in policies.items():
        for rule in policy.get("ingress", ()):
            assert rule["from"], f"{name} is open to all"
            assert all("ipBlock" not in peer for peer in rule["from"]), name
    reach = {policy["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/name") for policy in policies.values()}
    assert {"mlflow", "postgres"} <= reach
    assert not [title(one) for one in CORE if one["kind"] == "Ingress"]
    services = [one["spec"] for one in CORE if one["kind"] == "Service"]
    assert all(service.get("type", "ClusterIP") == "ClusterIP" for service in services)


def test_mlflows_upgrade_is_of_the_database_that_it_uses_and_reaches_it():
    (upgrade,) = TEMPLATES["Job/mlflow-upgrade"]["spec"]["containers"]
    (server,) = TEMPLATES["Deployment/mlflow"]["spec"]["containers"]
    assert [f"--backend-store-uri={uri}" for uri in upgrade["args"]] == [
        argument for argument in server["args"] if argument.startswith("--backend-store-uri=")
    ]
    assert all(variable in server["env"] for variable in upgrade["env"])
    labels = [TEMPLATES[name]["metadata"]["labels"] for name in ("Job/mlflow-upgrade", "Deployment/mlflow")]
    assert labels[0] == labels[1]  # the network policies go by them


def test_services_and_policies_find_their_pods():
    pods = [template["metadata"]["labels"] for template in TEMPLATES.values() if "metadata" in template]
    chosen = [one["spec"]["selector"] for one in CORE if one["kind"] == "Service"]
    chosen += [one["spec"]["selector"]["matchLabels"] for one in CORE if one["kind"] in ("Deployment", "StatefulSet")]
    assert len(chosen) == 4
    for labels in chosen:
        assert any(labels.items() <= pod.items() for pod in pods), labels


def test_the_namespace_refuses_privileged_pods():
    (namespace,) = (one for one in CORE if one["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
