"""Real, messy files go through the real processes: rows in = rows out, cells as they came. Needs SCRUB_SAMPLES."""

import asyncio
import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import phonenumbers
import pytest

from benchmarks.known import publish_results, wait_until_read
from schemas.topics import LOOKUP_RESULTS
from tests.e2e.files import RESULT_COLUMNS, post
from tests.e2e.waiting import wait_until_finished
from tests.fixtures.samples import samples_folder
from tests.fixtures.stack import RunningStack, stacks

pytestmark = pytest.mark.samples

Expected = dict[str, Any]
RATE = 200
"""The samples hold tens of thousands of phones: those that plain parsing finds are made known, the rest is called."""


def samples_with_phones() -> dict[str, Expected]:
    folder = samples_folder()
    if folder is None:
        return {"not asked for": {}}
    expected: dict[str, Expected] = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return {name: about for name, about in expected.items() if about["phone_columns"]}


SAMPLES = samples_with_phones()


@pytest.fixture(scope="module")
def fast_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack with a higher limit and an API without one."""
    folder = tmp_path_factory.mktemp("samples")
    command = [sys.executable, "-m", "deploy.local.simulator", "--port", "0", "--log", str(folder / "calls.jsonl")]
    command += ["--limit", "0", "--latency-ms", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator, stacks(folder) as start:
        assert simulator.stdout is not None
        address = simulator.stdout.readline().split()[-1]
        yield start("--lookup-url", address, env={"SCRUB_RATE": str(RATE)})
        simulator.terminate()


def records_of(path: Path, expected: Expected) -> list[list[str]]:
    """The file's data rows by Python's csv and the dialect that expected.json names."""
    # Bytes that cp1252 leaves undefined come back as the control characters of the same number.
    text = path.read_bytes().decode(expected["encoding"], errors="surrogateescape")
    text = "".join(chr(ord(c) - 0xDC00) if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)
    csv.field_size_limit(sys.maxsize)
    records = list(csv.reader(io.StringIO(text, newline=""), delimiter=expected["delimiter"]))
    records = records[expected["extra"].get("skip_rows", 0) :]
    rows = [record for record in records[1 if expected["header"] else 0 :] if record]
    assert len(rows) == expected["data_rows"]
    return rows


def plainly_valid(cells: list[str], region: str) -> set[str]:
    """The E.164 forms of the cells that plain parsing accepts."""
    found = set()
    for cell in set(cells):
        stripped = cell.strip().removesuffix(".0")
        try:
            number = phonenumbers.parse(stripped, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            found.add(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name, about in SAMPLES.items() if about.get("encoding") != "xlsx"])
def test_rows_in_are_rows_out(fast_stack: RunningStack, samples: Path, name: str) -> None:
    expected = SAMPLES[name]
    given = records_of(samples / name, expected)
    make_known(fast_stack, given, expected, samples / name)
    with fast_stack.client() as client:
        upload_id = post(client, samples / name, region=expected["region"])
        upload = wait_until_finished(client, upload_id, seconds=500)
        result = client.get(f"/v1/uploads/{upload_id}/result.csv")

    plan, counts = upload["plan"], upload["counts"]
    assert upload["state"] == "completed"
    assert plan["rows"] == counts["rows"] == expected["data_rows"]
    assert plan["with_phone"] == expected["nonempty_phone_cells"]
    assert plan["usable"] - plan["split"] == expected["valid_rows"]
    assert counts["answered"] + counts["failed"] == plan["usable"]
    assert counts["rejected"] == expected["data_rows"] - plan["usable"]

    csv.field_size_limit(sys.maxsize)
    got = list(csv.reader(io.StringIO(result.text, newline=""), delimiter=expected["delimiter"]))
    body = got[1:] if expected["header"] else got
    assert [row[: -len(RESULT_COLUMNS)] for row in body] == padded(given, body)


def padded(given: list[list[str]], body: list[list[str]]) -> list[list[str]]:
    """A short row is filled with empty cells, so that the result's columns stand under their headers."""
    widths = [len(row) - len(RESULT_COLUMNS) for row in body]
    return [row + [""] * (width - len(row)) for row, width in zip(given, widths, strict=True)]


def make_known(stack: RunningStack, given: list[list[str]], expected: Expected, path: Path) -> None:
    column = expected["phone_columns"][0]
    if isinstance(column, str):
        text = path.read_bytes().decode(expected["encoding"], errors="replace")
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=expected["delimiter"]))
        column = lines[expected["extra"].get("skip_rows", 0)].index(column)
    phones = plainly_valid([row[column] for row in given if len(row) > column], expected["region"])
    assert len(phones) == expected["distinct_valid_phones"]
    asyncio.run(publish_results(stack.kafka, sorted(phones)))
    asyncio.run(wait_until_read(stack.kafka, LOOKUP_RESULTS.name, deadline_seconds=120))
