"""The registry of formats is complete, and no other module has to know a format."""

import re
from pathlib import Path
from typing import get_args

from schemas.uploads import Detected
from services.ingest.reading import formats
from services.ingest.reading.formats.registry import BINARY_FORMATS, ROWS, TEXT_FORMATS
from services.ingest.reading.model import Format, Limits

READING = Path(formats.__file__).parents[1]
KNOW_A_FORMAT = {"model.py", "registry.py", "delimited_files.py", "json_lines_files.py", "selection.py"}
"""The names of formats, the registry, and for each format the module that detects it."""


def test_every_format_has_a_reader_and_a_place_in_the_contract() -> None:
    assert ROWS.keys() == set(get_args(Format)) == {one.name for one in (*BINARY_FORMATS, *TEXT_FORMATS)}
    assert ROWS.keys() == set(get_args(Detected.model_fields["format"].annotation)) - {"kafka"}


def test_the_last_text_format_takes_any_text() -> None:
    assert TEXT_FORMATS[-1].is_one("anything at all", Limits())


def test_no_other_module_names_a_format() -> None:
    name = re.compile("|".join(f'"{name}"' for name in ROWS))
    found = {path.name for path in READING.rglob("*.py") if name.search(path.read_text(encoding="utf-8"))}
    assert found == KNOW_A_FORMAT
