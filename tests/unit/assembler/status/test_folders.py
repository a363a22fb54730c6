"""Which folder of the status role may import which: operations stand between the JSON endpoints and the pages."""

import ast
from pathlib import Path

import pytest

import services.assembler.status

ROLE = "services.assembler.status"
FOLDER = Path(services.assembler.status.__file__).parent


def imports_of(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize(
    ("folder", "others"),
    [("api", ("pages",)), ("pages", ("api",)), ("operations", ("api", "pages")), ("pages/wording", ("operations",))],
)
def test_a_folder_imports_only_what_stands_below_it(folder: str, others: tuple[str, ...]) -> None:
    forbidden = tuple(f"{ROLE}.{other}" for other in others)
    assert imports_of(FOLDER / folder)
    assert {name for name in imports_of(FOLDER / folder) if name.startswith(forbidden)} == set()


def test_the_role_imports_no_other_role() -> None:
    allowed = tuple(
        f"services.{name}" for name in ("assembler.domain", "assembler.store", "assembler.status", "runtime")
    )
    ours = {name for name in imports_of(FOLDER) if name.startswith("services.")}
    assert {name for name in ours if not name.startswith(allowed)} == set()
