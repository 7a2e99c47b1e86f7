"""The fields of KubeRay's objects that infra/kuberay may use, with their types.

KubeRay's own schemas (custom resource definitions) are in no package. These are the fields of RayCluster and RayJob in
the API reference of KubeRay 1.7 (docs.ray.io, "KubeRay CRD API reference"). Pod templates and what else is Kubernetes'
own stay untyped here: test_kubernetes.py holds them against Kubernetes' schemas.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Seconds = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Strict):
    name: Name
    namespace: Name | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class AuthOptions(Strict):
    mode: Literal["disabled", "token"]
    secretName: Name | None = None
    enableK8sTokenAuth: bool | None = None


class AutoscalerOptions(Strict):
    version: Literal["v1", "v2"] | None = None
    idleTimeoutSeconds: Seconds | None = None
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] | None = None
    securityContext: dict[str, Any] = {}
    resources: dict[str, Any] = {}


class HeadGroup(Strict):
    rayStartParams: dict[str, str]
    template: dict[str, Any]
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    enableIngress: bool = False
    labels: dict[str, str] = {}


class WorkerGroup(Strict):
    groupName: Name
    replicas: int = Field(0, ge=0)
    minReplicas: int = Field(ge=0)
    maxReplicas: int = Field(ge=1)
    idleTimeoutSeconds: Seconds | None = None
    labels: dict[str, str] = {}
    rayStartParams: dict[str, str]
    template: dict[str, Any]

    @model_validator(mode="after")
    def _within(self) -> WorkerGroup:
        if not self.minReplicas <= self.replicas <= self.maxReplicas:
            raise ValueError(f"{self.groupName}: replicas must be within minReplicas and maxReplicas")
        return self


class RayClusterSpec(Strict):
    rayVersion: str
    authOptions: AuthOptions
    enableInTreeAutoscaling: bool = False
    autoscalerOptions: AutoscalerOptions | None = None
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup]


class RayCluster(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: RayClusterSpec


class RayJobSpec(Strict):
    entrypoint: str
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]
    rayClusterSpec: RayClusterSpec
    backoffLimit: int = Field(0, ge=0)
    activeDeadlineSeconds: int | None = Field(None, ge=1)
    shutdownAfterJobFinishes: bool = False
    ttlSecondsAfterFinished: Seconds = 0
    suspend: bool = False
    runtimeEnvYAML: str | None = None


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: RayJobSpec
