"""The image, the compose file and the manifests start every role with settings that exist, hardened alike."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.local.broker.jars import KAFKA
from schemas.roles import ROLES
from schemas.settings import SECRETS, Settings

CHECKOUT = Path(__file__).parents[2]
BASE = CHECKOUT / "deploy" / "k8s" / "base"
IMAGE = "phone-scrubber"
COMMANDS: dict[str, list[str]] = {role.name: list(role.command) for role in ROLES}
SETTINGS = {f"SCRUB_{name.upper()}" for name in Settings.model_fields}
SECRET_FILES = {f"SCRUB_{name.upper()}_FILE": name for name in SECRETS}
KUBERNETES = kubernetes_validate.latest_version()
Document = dict[str, Any]


def documents() -> list[Document]:
    """Every manifest of the base; the kustomization itself is none."""
    paths = [path for path in sorted(BASE.glob("*.yaml")) if path.name != "kustomization.yaml"]
    return [found for path in paths for found in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


MANIFESTS = documents()
KUSTOMIZATION: Document = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))
COMPOSE: Document = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text(encoding="utf-8"))
WORKLOADS = [found for found in MANIFESTS if found["kind"] in ("Deployment", "StatefulSet", "Job")]


def name_of(document: Document) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def pod_of(workload: Document) -> Document:
    return dict(workload["spec"]["template"]["spec"])


def containers() -> Iterator[tuple[str, Document]]:
    for workload in WORKLOADS:
        for container in pod_of(workload)["containers"]:
            yield name_of(workload), container


CONTAINERS = list(containers())
OURS = [(name, container) for name, container in CONTAINERS if container["image"] == IMAGE]
each_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
each_manifest = pytest.mark.parametrize("manifest", MANIFESTS, ids=name_of)


@each_manifest
def test_a_manifest_is_valid_kubernetes(manifest: Document) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_kustomization_lists_every_file() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == sorted(
        path.name for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml"
    )
    assert [image["name"] for image in KUSTOMIZATION["images"]] == [IMAGE]
    assert all((BASE / name).exists() for each in KUSTOMIZATION["configMapGenerator"] for name in each["files"])


def test_every_role_has_a_workload_with_its_command() -> None:
    commands = {workload["metadata"]["name"]: pod_of(workload)["containers"][0].get("args") for workload in WORKLOADS}
    assert {name: commands.get(name) for name in COMMANDS} == COMMANDS
    assert commands["topics"] == ["deploy.topics"]


@pytest.mark.parametrize(("workload", "container"), OURS, ids=[name for name, _ in OURS])
def test_variables_are_settings_and_secrets_come_from_files(workload: str, container: Document) -> None:
    variables = {entry["name"]: entry for entry in container.get("env", [])}
    assert variables.keys() <= SETTINGS | SECRET_FILES.keys(), workload
    for variable in variables.keys() & SECRET_FILES.keys():
        assert variables[variable]["value"] == f"/run/secrets/scrub/{SECRET_FILES[variable]}"


def test_what_all_are_told_are_settings_and_no_secrets() -> None:
    (config,) = [found for found in MANIFESTS if found["kind"] == "ConfigMap"]
    assert config["data"].keys() <= SETTINGS - {f"SCRUB_{name.upper()}" for name in SECRETS}
    values = {name.removeprefix("SCRUB_").lower(): value for name, value in config["data"].items()}
    assert Settings.model_validate(values).replication_factor == 3


@each_workload
def test_secret_files_that_are_named_are_mounted(workload: Document) -> None:
    pod = pod_of(workload)
    named = {
        SECRET_FILES[entry["name"]]
        for container in pod["containers"]
        for entry in container.get("env", [])
        if entry["name"] in SECRET_FILES
    }
    mounted = {
        item["path"] for volume in pod.get("volumes", []) if "secret" in volume for item in volume["secret"]["items"]
    }
    assert mounted == named


@pytest.mark.parametrize(
    ("role", "secrets"),
    [
        ("http", {"tokens", "admin_tokens", "hash_key"}),
        ("status", {"tokens", "admin_tokens", "hash_key", "database"}),
        ("gate", {"hash_key", "lookup_key"}),
        ("join", {"hash_key", "database"}),
        ("worker", {"hash_key"}),
        ("feeder", {"hash_key"}),
    ],
)
def test_a_role_gets_only_the_secrets_it_needs(role: str, secrets: set[str]) -> None:
    (container,) = [container for name, container in OURS if name.endswith(f"/{role}")]
    given = {SECRET_FILES[entry["name"]] for entry in container["env"] if entry["name"] in SECRET_FILES}
    assert given == secrets


@each_workload
def test_pods_are_hardened(workload: Document) -> None:
    pod = pod_of(workload)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"]["drop"] == ["ALL"]
        assert ("add" in context["capabilities"]) == (container["image"] != IMAGE)
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert in_mebibytes(container["resources"]["requests"]["memory"]) <= in_mebibytes(
            container["resources"]["limits"]["memory"]
        )


def in_mebibytes(quantity: str) -> int:
    match = re.fullmatch(r"(\d+)(Mi|Gi)", quantity)
    assert match, quantity
    return int(match[1]) * (1024 if match[2] == "Gi" else 1)


@each_workload
def test_mounts_have_volumes_and_volumes_have_mounts(workload: Document) -> None:
    pod = pod_of(workload)
    claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    volumes = {volume["name"] for volume in pod.get("volumes", [])} | claims
    assert volumes == {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}


def labels_of(workload: Document) -> Document:
    return dict(workload["spec"]["template"]["metadata"]["labels"])


@each_workload
def test_labels_are_what_selectors_ask_for(workload: Document) -> None:
    labels = labels_of(workload)
    if workload["kind"] != "Job":
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["app.kubernetes.io/name"] == workload["metadata"]["name"]


@pytest.mark.parametrize(
    "manifest", [found for found in MANIFESTS if found["kind"] in ("Service", "PodDisruptionBudget")], ids=name_of
)
def test_services_and_budgets_select_a_workload(manifest: Document) -> None:
    selector = manifest["spec"]["selector"]
    labels = selector.get("matchLabels", selector)
    (workload,) = [
        found for found in WORKLOADS if labels.items() <= found["spec"]["template"]["metadata"]["labels"].items()
    ]
    ports = {port["name"] for container in pod_of(workload)["containers"] for port in container.get("ports", [])}
    assert {port["targetPort"] for port in manifest["spec"].get("ports", [])} <= ports
    if manifest["kind"] == "PodDisruptionBudget":
        assert workload["spec"]["replicas"] > manifest["spec"]["maxUnavailable"]


def test_every_role_has_replicas_and_a_budget_and_the_gate_a_standby() -> None:
    budgets = {found["metadata"]["name"] for found in MANIFESTS if found["kind"] == "PodDisruptionBudget"}
    assert budgets == {*COMMANDS, "gateway"}
    assert {w["metadata"]["name"]: w["spec"]["replicas"] for w in WORKLOADS if w["kind"] != "Job"}["gate"] == 2


def test_roles_that_serve_have_probes_and_the_ingress_leads_to_the_gateway() -> None:
    for _, container in CONTAINERS:
        assert ("ports" in container) == ("readinessProbe" in container) == ("livenessProbe" in container)
    (ingress,) = [found for found in MANIFESTS if found["kind"] == "Ingress"]
    services = {found["metadata"]["name"] for found in MANIFESTS if found["kind"] == "Service"}
    backends = {
        path["backend"]["service"]["name"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]
    }
    assert backends == {"gateway"} <= services


def test_the_gateway_knows_both_services_by_the_names_they_have() -> None:
    config = (BASE / "Caddyfile").read_text(encoding="utf-8")
    upstreams = set(re.findall(r"\b([a-z]+):8000\b", config))
    services = {found["metadata"]["name"] for found in MANIFESTS if found["kind"] == "Service"}
    assert upstreams == {"http", "status"}
    assert upstreams <= services
    assert upstreams <= COMPOSE["services"].keys()
    assert re.search(r"reverse_proxy @file http:8000", config)


@pytest.mark.parametrize("role", COMMANDS)
def test_compose_runs_every_role(role: str) -> None:
    service = COMPOSE["services"][role]
    assert (service["image"], service["command"]) == (IMAGE, COMMANDS[role])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_composes_variables_are_settings(service: str) -> None:
    variables = {name for name in COMPOSE["services"][service].get("environment", {}) if name.startswith("SCRUB_")}
    assert variables <= SETTINGS


def test_compose_pins_the_kafka_that_the_local_stack_runs_and_publishes_to_this_machine_only() -> None:
    assert COMPOSE["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA.rpartition(':')[2]}"
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_are_the_same_in_compose_and_manifests() -> None:
    in_manifests = {container["image"] for _, container in CONTAINERS}
    assert in_manifests <= {service["image"] for service in COMPOSE["services"].values() if "image" in service} | {
        IMAGE
    }


def test_every_command_is_a_module_that_the_image_holds() -> None:
    commands = [container.get("args") for _, container in OURS]
    commands += [service.get("command") for service in COMPOSE["services"].values() if service["image"] == IMAGE]
    for command in commands:
        assert command is not None
        assert importlib.util.find_spec(command[0]) is not None
    dockerfile = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
    copied = set(re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE))
    assert {command[0].partition(".")[0] for command in commands if command} <= copied


def test_the_image_runs_as_nobody_special_and_installs_by_hash() -> None:
    dockerfile = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
    (user,) = re.findall(r"^USER (\d+):\d+$", dockerfile, re.MULTILINE)
    users = {pod_of(workload)["securityContext"]["runAsUser"] for workload in WORKLOADS}
    assert int(user) in users
    assert "--require-hashes" in dockerfile
