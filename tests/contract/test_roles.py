"""Every place that starts, orders or watches roles agrees with the one list of them."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from deploy.local.supervisor.options import SCALABLE
from deploy.local.supervisor.parts import STOP_ORDER
from schemas import groups
from schemas.parts import Role
from schemas.roles import LOCAL_WEB, ROLES, RoleName, RoleSpec

CHECKOUT = Path(__file__).parents[2]
BASE = CHECKOUT / "deploy" / "k8s" / "base"
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text(encoding="utf-8"))
MANIFESTS: list[dict[str, Any]] = [
    document for path in BASE.glob("*.yaml") for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
STARTERS = {role.package.partition(".")[0] for role in ROLES}
each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def test_the_registry_and_the_types_name_the_same_roles() -> None:
    names = tuple(role.name for role in ROLES)
    assert names == get_args(RoleName)
    assert (*names, LOCAL_WEB) == get_args(Role)


@each_role
def test_a_role_has_a_folder_with_its_entry_point(role: RoleSpec) -> None:
    entry = CHECKOUT / (role.module.replace(".", "/") + ".py")
    functions = {node.name for node in ast.parse(entry.read_text(encoding="utf-8")).body if hasattr(node, "name")}
    assert "main" in functions


def test_every_folder_with_an_entry_point_is_a_role() -> None:
    found = {path.parent.name for path in (CHECKOUT / "services").glob("*/*/role.py")}
    assert found == {role.name for role in ROLES}


@pytest.mark.parametrize("package", sorted({role.package for role in ROLES}))
def test_a_service_without_a_role_says_which_it_has(package: str) -> None:
    called = subprocess.run([sys.executable, "-m", package], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    names = "|".join(role.name for role in ROLES if role.package == package)
    assert (called.returncode, called.stderr.strip()) == (2, f"usage: python -m {package} {names}")


def test_the_list_of_roles_loads_no_library() -> None:
    """The feeder's child processes import the module that starts a role; they must stay small."""
    program = "import sys, schemas.roles, services.ingest.__main__; print('pydantic' in sys.modules, len(sys.argv))"
    called = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert called.stdout.split() == ["False", "1"]


@each_role
def test_compose_runs_it(role: RoleSpec) -> None:
    assert COMPOSE["services"][role.name]["command"] == list(role.command)


def test_compose_runs_no_other_command_of_a_service() -> None:
    commands = [service.get("command", [""]) for service in COMPOSE["services"].values()]
    assert {tuple(each) for each in commands if each[0].partition(".")[0] in STARTERS} == {
        role.command for role in ROLES
    }


@each_role
def test_a_manifest_runs_it_and_opens_a_port_only_for_a_web_server(role: RoleSpec) -> None:
    (container,) = [
        container
        for manifest in MANIFESTS
        if manifest["kind"] in ("Deployment", "StatefulSet")
        for container in manifest["spec"]["template"]["spec"]["containers"]
        if container["name"] == role.name
    ]
    assert container["args"] == list(role.command)
    assert ("ports" in container) == role.serves_http


def test_the_local_stack_stops_every_role_where_work_comes_in_first() -> None:
    stopped = [name for stage in STOP_ORDER for name in stage]
    assert len(stopped) == len(set(stopped))
    assert set(stopped) == {role.name for role in ROLES if not role.serves_http} | {LOCAL_WEB, "simulator", "kafka"}
    stages = [sorted(role.stop_stage for role in ROLES if role.name in stage) for stage in STOP_ORDER[:-2]]
    assert stages == sorted(stages)
    assert STOP_ORDER[-2:] == (("simulator",), ("kafka",))


def test_roles_of_the_data_path_that_read_in_a_group_can_be_scaled() -> None:
    assert set(SCALABLE) == {role.name for role in ROLES if role.group is not None}


def test_groups_are_named_nowhere_else() -> None:
    names = {value for name, value in vars(groups).items() if name.isupper()}
    assert names == {role.group for role in ROLES} - {None}
    found = [
        f"{path.relative_to(CHECKOUT)}: {node.value}"
        for folder in ("services", "deploy")
        for path in sorted((CHECKOUT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value in names - {role.name for role in ROLES}
    ]
    # The name of the worker's group is also a common word of the pages and the API's address.
    assert [each for each in found if not each.endswith(": lookup")] == []
