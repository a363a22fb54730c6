"""Input files of the end-to-end tests, and what is true of a result file whatever the input."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks.figures import worst_window
from deploy.local.simulator.answers import reply_to
from tests.fixtures.stack import Call

IN_FLIGHT_NS = 100_000_000 + 400_000_000
"""A call may be unacknowledged for the simulator's latency and as long as Kafka takes on a busy machine."""
HEADER = ["id", "name", "phone", "note"]
RESULT_COLUMNS = [
    "scrub_phone",
    "scrub_status",
    "scrub_verdict",
    "scrub_line_type",
    "scrub_carrier",
    "scrub_country",
    "scrub_reachable",
    "scrub_do_not_call",
    "scrub_checked_at",
    "scrub_error",
]


def phones(count: int, *, area: int) -> list[str]:
    """Distinct fictional phones; each test takes an area code of its own, so that none is known from another test."""
    return [f"+1{area}555{number:04d}" for number in range(1000, 1000 + count)]


def write_contacts(path: Path, wanted: Sequence[str]) -> Path:
    """One row for each phone, in order, with cells that a careless reader would change."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for row, phone in enumerate(wanted, start=1):
            spelled = f"({phone[2:5]}) {phone[5:8]}-{phone[8:]}"
            writer.writerow([f"{row:05d}", f" Zoë “{row}” ", spelled, 'a,b\n"c"' if row % 7 == 0 else "1E5"])
    return path


def read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def assert_nothing_lost(contacts: Path, result: str) -> list[dict[str, str]]:
    """Same rows, same order, each cell as it came, the result's columns after them. Returns the result columns."""
    given = read_csv(contacts.read_text(encoding="utf-8"))
    got = read_csv(result)
    width = len(given[0])
    assert got[0] == given[0] + RESULT_COLUMNS
    assert [row[:width] for row in got[1:]] == given[1:]
    return [dict(zip(RESULT_COLUMNS, row[width:], strict=True)) for row in got[1:]]


def assert_limit_held(calls: Sequence[Call], *, limit: int = 10) -> None:
    """No sliding second of the API's own log holds more calls than allowed."""
    assert worst_window([call.t_ns for call in calls]) <= limit


def post(client: httpx.Client, contacts: Path, **options: str | int) -> str:
    """Uploads a file; returns the upload's id."""
    with contacts.open("rb") as file:
        response = client.post("/v1/uploads", params=options, files={"file": (contacts.name, file, "text/csv")})
    assert response.status_code == httpx.codes.ACCEPTED, response.text
    upload_id: str = response.json()["id"]
    return upload_id


def assert_only_calls_in_flight_were_repeated(calls: Sequence[Call], killed_ns: int) -> None:
    """A phone is called twice only if its first call had no acknowledged result when the part was killed."""
    first: dict[str, int] = {}
    for call in calls:
        if call.phone not in first:
            first[call.phone] = call.t_ns
            continue
        assert killed_ns - IN_FLIGHT_NS <= first[call.phone] <= killed_ns + IN_FLIGHT_NS


def assert_right_answers(results: Sequence[dict[str, str]], *, seed: int = 1) -> None:
    """Each row says of its phone what the simulator says of that phone, and of no other."""
    for result in results:
        said = json.loads(reply_to(result["scrub_phone"], seed=seed, attempt=1, fail_rate=0.0).body)
        if not said["valid"]:
            assert (result["scrub_status"], result["scrub_verdict"]) == ("answered", "not_valid")
            continue
        wanted = {name: str(said.get(name) or "") for name in ("line_type", "carrier", "country")}
        got = {name: result[f"scrub_{name}"] for name in wanted}
        assert got | {"line_type": got["line_type"].replace("unknown", "")} == wanted
