"""Which package may import which: the direction that lets services be deployed, and read, one at a time."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

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
PURE = (
    "services/lookup/gate/limiter.py",
    "services/lookup/gate/fairness.py",
    "services/lookup/gate/queue.py",
    "services/lookup/gate/lanes.py",
    "services/lookup/gate/retries.py",
    "services/lookup/gate/provider_health.py",
    "services/lookup/gate/fold.py",
    "services/lookup/gate/scheduler.py",
    "services/lookup/gate/failure_attribution.py",
    "services/lookup/gate/commands.py",
    "services/lookup/gate/controls.py",
    "services/lookup/gate/record_encoding.py",
    "services/lookup/gate/status.py",
    "services/lookup/gate/outgoing.py",
    "services/lookup/gate/recent_results.py",
    "services/lookup/gate/call_outcome.py",
    "services/lookup/gate/turns.py",
    "services/lookup/providers/generic.py",
    "services/lookup/providers/protocol.py",
    "services/lookup/providers/strict_json.py",
    "services/lookup/gate/lease.py",
    "services/lookup/gate/counters.py",
    "services/lookup/worker/known_phones.py",
    "services/lookup/worker/request_policy.py",
    "services/lookup/worker/read_positions.py",
    "services/lookup/worker/sent_keys.py",
    "services/assembler/status/pages/wording/outcomes.py",
    "services/assembler/status/pages/wording/uploads.py",
    "services/assembler/status/pages/own_pages.py",
)


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(name: str, packages: set[str]) -> bool:
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


def test_the_contract_does_no_input_or_output() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "schemas").rglob("*.py")
        for name in imports_of(path)
        if is_within(name, CLIENT_LIBRARIES)
    }
    assert not wrong


@pytest.mark.parametrize("module", PURE)
def test_pure_decisions_know_no_client_library_and_no_clock(module: str) -> None:
    names = set(imports_of(ROOT / module))
    assert not {name for name in names if is_within(name, CLIENT_LIBRARIES | {"asyncio", "time"})}
