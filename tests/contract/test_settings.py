"""Every setting is documented with its default, and no code or page speaks of one that does not exist."""

import re
from pathlib import Path

import pytest

from schemas.export import SETTINGS_DOC
from schemas.settings import SECRETS, Settings

CHECKOUT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\bSCRUB_[A-Z]+(?:_[A-Z]+)*")
KNOWN = {f"SCRUB_{name.upper()}" for name in Settings.model_fields}
SECRET_FILES = {f"SCRUB_{name.upper()}_FILE" for name in SECRETS}
NOT_OF_ROLES = {"SCRUB_CACHE", "SCRUB_TOKEN", "SCRUB_SAMPLES", "SCRUB_TEST_KAFKA", "SCRUB_TEST_POSTGRES"}
"""Variables of the local stack and of the tests, which no role reads."""
PLACES = ("README.md", "docs", "schemas", "services", "deploy", "examples", "benchmarks", "docker-compose.yml")


def test_each_setting_has_a_meaning() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_has_a_row_on_the_page(name: str) -> None:
    lines = SETTINGS_DOC.read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in lines if line.startswith(f"| `SCRUB_{name.upper()}` |")]
    default = Settings.model_fields[name].get_default(call_default_factory=True, validated_data={})
    if isinstance(default, int | float | str) and default not in ("", False, True):
        assert f"`{default}`" in row


def test_variables_of_the_local_stack_are_on_the_page_too() -> None:
    page = SETTINGS_DOC.read_text(encoding="utf-8")
    assert [variable for variable in sorted(NOT_OF_ROLES) if f"| `{variable}` |" not in page] == []


def test_no_variable_is_mentioned_that_nobody_reads() -> None:
    mentioned = {
        (str(path.relative_to(CHECKOUT)), variable)
        for place in PLACES
        for path in files(CHECKOUT / place)
        for variable in VARIABLE.findall(path.read_text(encoding="utf-8"))
    }
    unknown = {(path, variable) for path, variable in mentioned if variable not in KNOWN | SECRET_FILES | NOT_OF_ROLES}
    assert unknown == set()


def files(place: Path) -> list[Path]:
    suffixes = {".py", ".md", ".yml", ".yaml", ".html", ".js", ".sh"}
    if place.is_file():
        return [place]
    return [path for path in sorted(place.rglob("*")) if path.suffix in suffixes]
