"""The documents speak of files and names that exist: each path, and each `path::name`, is looked up in the tree."""

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGES = sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")])
PATH = re.compile(r"`((?:schemas|services|deploy|phone_scrubber|tests|benchmarks|docs|examples)/[\w./-]*)(?:::(\w+))?`")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
HISTORY = ("CHANGELOG.md",)
"""Pages that may name what is gone."""


def names_in(path: Path) -> set[str]:
    """Classes, functions and constants of a module."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_a_page_names_only_what_exists(page: Path) -> None:
    if page.name in HISTORY:
        return
    wrong = set()
    for path, name in PATH.findall(page.read_text(encoding="utf-8")):
        file = CHECKOUT / path
        if not file.exists() or (name and name not in names_in(file)):
            wrong.add(f"{path}::{name}" if name else path)
    assert wrong == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_a_page_links_only_to_what_exists(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
