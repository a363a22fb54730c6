"""Result files over HTTP, on a real stack: filters, formulas, names, and a failed file that goes in again as it is."""

import csv
import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import openpyxl
import pytest

from tests.e2e.files import RESULT_COLUMNS, read_csv
from tests.e2e.waiting import wait_until_finished
from tests.fixtures.stack import RunningStack, stacks

HEADER = ["Name", "Phone", "Note"]
ROWS = [
    *[[f"Ann {n}", f"(417) 555-01{n:02d}", "=1+1"] for n in range(12)],
    ["Eve", "(934) 555-0117", "+SUM(A1)"],
    ["Kim", "", "@cmd"],
    ["Lou", "call me", "-2+3"],
    ["Max", "4.17555E+09", "1E5"],
]
STATES = ("answered", "failed", "rejected", "unprocessed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that gives a phone up after one attempt."""
    with stacks(tmp_path_factory.mktemp("results")) as start:
        yield start(env={"SCRUB_MAX_ATTEMPTS": "1"})


@pytest.fixture(scope="module")
def client(site: RunningStack) -> Iterator[httpx.Client]:
    with site.client() as client:
        yield client


@pytest.fixture(scope="module")
def upload(client: httpx.Client) -> dict[str, Any]:
    """A finished upload with rows of every kind but unprocessed."""
    text = io.StringIO()
    csv.writer(text).writerows([HEADER, *ROWS])
    return send(client, "people.csv", text.getvalue().encode())


def send(client: httpx.Client, name: str, content: bytes) -> dict[str, Any]:
    answer = client.post("/v1/uploads", files={"file": (name, content)})
    assert answer.status_code == 202, answer.text
    return wait_until_finished(client, answer.json()["id"])


def result(client: httpx.Client, upload: dict[str, Any], query: str = "", *, extension: str = "csv") -> httpx.Response:
    answer = client.get(f"/v1/uploads/{upload['id']}/result.{extension}?{query}")
    assert answer.status_code == 200, answer.text
    return answer


def names(client: httpx.Client, upload: dict[str, Any], query: str, extension: str) -> list[str]:
    """The first cell of every row of a result file."""
    answer = result(client, upload, query, extension=extension)
    if extension == "csv":
        return [row[0] for row in read_csv(answer.text)[1:]]
    if extension == "xlsx":
        sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets[0]
        return [str(row[0]) for row in sheet.iter_rows(min_row=2, values_only=True)]
    rows = [httpx.Response(200, content=line).json() for line in answer.content.splitlines()]
    return [row["cells"][0] for row in rows]


@pytest.mark.parametrize("extension", ["csv", "xlsx", "jsonl"])
def test_filters_choose_the_same_rows_in_every_format(
    client: httpx.Client, upload: dict[str, Any], extension: str
) -> None:
    rows = client.get(f"{upload['links']['rows']}?limit=100").json()["items"]
    assert names(client, upload, "", extension) == [row[0] for row in ROWS]
    for state in STATES:
        wanted = [row["cells"][0] for row in rows if row["state"] == state]
        assert names(client, upload, f"rows={state}", extension) == wanted
    assert names(client, upload, "rows=failed,rejected", extension) == ["Eve", "Kim", "Lou", "Max"]
    for field in ("verdict", "line_type"):
        for value in {row["result"][field] for row in rows if row["result"] and row["result"][field]}:
            wanted = [row["cells"][0] for row in rows if row["result"] and row["result"][field] == value]
            assert names(client, upload, f"{field}={value}", extension) == wanted


def test_a_state_that_there_is_not_is_refused(client: httpx.Client, upload: dict[str, Any]) -> None:
    answer = client.get(f"/v1/uploads/{upload['id']}/result.csv?rows=lost")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_formulas_are_escaped_when_asked_for_and_phones_never(client: httpx.Client, upload: dict[str, Any]) -> None:
    as_it_came = read_csv(result(client, upload).text)
    assert [row[:3] for row in as_it_came] == [HEADER, *ROWS]
    safe = read_csv(result(client, upload, "excel_safe=1").text)
    assert [row[2] for row in safe[1:]] == [*["'=1+1"] * 12, "'+SUM(A1)", "'@cmd", "'-2+3", "1E5"]
    phones = [row[3] for row in safe[1:]]
    assert phones == [row[3] for row in as_it_came[1:]]
    assert phones[:2] == ["+14175550100", "+14175550101"]


def test_the_failed_rows_go_in_again_as_they_are(client: httpx.Client, upload: dict[str, Any]) -> None:
    failed = result(client, upload, "rows=failed,rejected").content
    before = read_csv(failed.decode())
    assert before[0] == HEADER + RESULT_COLUMNS
    assert [row[:3] for row in before[1:]] == ROWS[12:]
    corrected = failed.replace(b"call me", b"(417) 555-0150")
    again = send(client, "people.scrubbed.csv", corrected)
    after = read_csv(result(client, again).text)
    assert after[0] == before[0], "the result columns are refreshed, not added once more"
    assert [row[:3] for row in after[1:]] == [*ROWS[12:14], ["Lou", "(417) 555-0150", "-2+3"], ROWS[15]]
    assert [row[4] for row in after[1:]] == ["failed", "rejected", "answered", "rejected"]


@pytest.mark.parametrize(
    ("given", "saved"),
    [
        ("people.csv", "people.scrubbed.csv"),
        ("Kühe & Co; 100 % – 日本.csv.gz", "Kühe & Co; 100 % – 日本.scrubbed.csv"),
        ('say "hi".csv', 'say "hi".scrubbed.csv'),
        ("../../etc/passwd", "passwd.scrubbed.csv"),
        ("=cmd|' C calc'!A0.csv", "=cmd|' C calc'!A0.scrubbed.csv"),
        ("🐄.xlsx", "🐄.scrubbed.csv"),
        ("no ending", "no ending.scrubbed.csv"),
    ],
)
def test_a_file_of_any_name_can_be_saved(client: httpx.Client, given: str, saved: str) -> None:
    upload = send(client, given, b"phone\n(417) 555-0100\n")
    header = result(client, upload).headers["content-disposition"]
    assert header.isascii()
    assert header.startswith("attachment; ")
    assert saved_name(header) == saved


def saved_name(header: str) -> str:
    """The name that a browser takes from the header (RFC 6266)."""
    extended = header.partition("filename*=UTF-8''")[2]
    return unquote(extended) if extended else header.partition('filename="')[2].rpartition('"')[0]
