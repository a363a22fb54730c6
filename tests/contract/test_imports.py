"""The imports say what the tree shows: roles apart, a domain without client libraries, SQL in one place, no circles."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from schemas.roles import ROLES, RoleSpec

ROOT = Path(__file__).parents[2]
OURS = {"schemas", "services", "deploy", "tests", "benchmarks", "examples"}
MAY_IMPORT = {
    "schemas": {"schemas"},
    "services/runtime": {"schemas", "services.runtime"},
    "services/ingest": {"schemas", "services.runtime", "services.ingest"},
    "services/lookup": {"schemas", "services.runtime", "services.lookup"},
    "services/assembler": {"schemas", "services.runtime", "services.assembler"},
}
CLIENT_LIBRARIES = {"aiokafka", "faust", "httpx", "sqlalchemy", "starlette"}
CLOCKS = {"asyncio", "time"}
SAYS_PURE = re.compile(r"(?:[.;] |^)[Pp]ure[.;]", re.MULTILINE)
"""A module's docstring calls the module pure: `…; pure.`, `… Pure.`, or `Pure; …` as a sentence of its own."""
DOMAIN = "services.assembler.domain"
STORE = "services.assembler.store"
COMPOSES = ("role", "__main__", "cli", "stack")
"""Modules that put a process or a stack together: they import its parts, and no other module imports them."""


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name; a package goes by its own."""
    paths = [path for top in ("schemas", "services", "deploy") for path in sorted((ROOT / top).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()
SERVICES = [name for name in MODULES if name.startswith("services.")]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> Iterator[str]:
    """All that a module imports, at whatever place in it, but for what only a type checker sees."""
    waiting: list[ast.AST] = [parsed(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imported_modules(name: str) -> frozenset[str]:
    """The product's modules that a module imports; not the packages on the way to them."""
    return frozenset(_without_parents(set(imports_of(MODULES[name])) & MODULES.keys()))


def _without_parents(names: set[str]) -> Iterator[str]:
    for name in names:
        if MODULES[name].name != "__init__.py" or not any(other.startswith(f"{name}.") for other in names):
            yield name


def reached(name: str) -> set[str]:
    """A module, and all modules of the product that are loaded with it."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imported_modules(module)
    return seen


def libraries_reached(name: str) -> set[str]:
    return {found.partition(".")[0] for module in reached(name) for found in imports_of(MODULES[module])}


def is_within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imports_of(path)
        if name.partition(".")[0] in OURS and name != "services" and not is_within(name, MAY_IMPORT[folder])
    }
    assert not wrong


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_role_imports_another(role: RoleSpec) -> None:
    others = {other.module.removesuffix(".role") for other in ROLES if other is not role}
    own = [name for name in SERVICES if is_within(name, {role.module.removesuffix(".role")})]
    assert own
    wrong = {
        f"{name} imports {found}" for name in own for found in imports_of(MODULES[name]) if is_within(found, others)
    }
    assert not wrong


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_what_roles_share_imports_no_role(role: RoleSpec) -> None:
    """Nothing outside a role's folder is loaded with a role and brings another one with it."""
    others = {other.module.removesuffix(".role") for other in ROLES if other is not role}
    loaded = {name for name in reached(role.module) if is_within(name, others)}
    assert not loaded


def test_the_contract_does_no_input_or_output() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "schemas").rglob("*.py")
        for name in imports_of(path)
        if is_within(name, CLIENT_LIBRARIES)
    }
    assert not wrong


def pure_modules() -> list[str]:
    """Modules that call themselves pure, and all of the domain."""
    return [
        name
        for name, path in MODULES.items()
        if is_within(name, {DOMAIN}) or SAYS_PURE.search(ast.get_docstring(parsed(path)) or "")
    ]


PURE = pure_modules()


def test_the_sweep_finds_the_pure_modules() -> None:
    assert len(PURE) > 40
    assert {"services.lookup.gate.limiter", "services.lookup.gate.lease", f"{DOMAIN}.lifecycle"} <= set(PURE)


@pytest.mark.parametrize("name", PURE)
def test_pure_decisions_reach_no_client_library_and_no_clock(name: str) -> None:
    assert not libraries_reached(name) & CLIENT_LIBRARIES
    assert not {found for found in imports_of(MODULES[name]) if is_within(found, CLOCKS)}


def test_only_the_store_knows_sql() -> None:
    found = {
        name
        for name in SERVICES
        if not is_within(name, {STORE}) and any(is_within(each, {"sqlalchemy"}) for each in imports_of(MODULES[name]))
    }
    assert not found


def package_of(name: str) -> str:
    return name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]


def dependencies() -> Mapping[str, set[str]]:
    """Package → packages that a module directly in it imports a module of, directly in them."""
    found: dict[str, set[str]] = {}
    for name in MODULES:
        if name.rpartition(".")[2] not in COMPOSES:
            packages = {package_of(each) for each in imported_modules(name)}
            found.setdefault(package_of(name), set()).update(packages - {package_of(name)})
    return found


def circles(depends_on: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """Packages that depend on each other, by whatever way, together."""

    def beyond(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = depends_on.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen

    ways = {package: beyond(package) for package in depends_on}
    return {
        frozenset(other for other in ways[package] if package in ways.get(other, set()))
        for package in depends_on
        if package in ways[package]
    }


def test_packages_depend_on_each_other_in_no_circle() -> None:
    assert circles(dependencies()) == set()


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == {frozenset("abc")}
    assert circles({"a": {"b"}, "b": set()}) == set()
