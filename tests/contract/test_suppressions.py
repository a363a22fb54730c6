"""Every suppression says why: on its line, or in a comment above."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("schemas", "services", "deploy", "phone_scrubber", "benchmarks", "examples", "tests")
BARE = re.compile(r"# (?:noqa(?:: [A-Z0-9, ]+)?|type: ignore(?:\[[a-z,-]+\])?)$")


def bare_suppressions(text: str) -> list[int]:
    """Numbers of the lines that suppress a finding without a reason."""
    lines = ["", *text.splitlines()]
    return [
        number
        for number, line in enumerate(lines)
        if BARE.search(line) and not lines[number - 1].lstrip().startswith("#")
    ]


def test_every_suppression_has_a_reason() -> None:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > 400
    found = {str(path.relative_to(ROOT)): bare_suppressions(path.read_text(encoding="utf-8")) for path in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_a_bare_one_is_found() -> None:
    marker = "# no" + "qa: E741"
    assert bare_suppressions(f"x = 1  {marker}\n") == [1]
    assert bare_suppressions(f"x = 1  {marker} - the usual name\n") == []
    assert bare_suppressions(f"# The usual name.\nx = 1  {marker}\n") == []
