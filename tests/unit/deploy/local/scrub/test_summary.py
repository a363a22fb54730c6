"""What the scrub command says of an upload: figures and row numbers, and never a phone."""

from collections.abc import Sequence
from datetime import UTC, datetime

from deploy.local.scrub.summary import detected_lines, outcome_lines, plan_line, reason_lines
from schemas.interface import Links, Plan, Row, Summary, Upload
from schemas.rows import RowError, RowErrorCode
from schemas.uploads import Counts, Detected, UploadOptions
from tests.fixtures.ids import upload_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PHONE = "+14155550100"


def upload(*, detected: Detected | None = None, plan: Plan | None = None, counts: Counts | None = None) -> Upload:
    return Upload(
        id=upload_id("1"), name="a.csv", bytes=1, sha256=None, owner="local", operation="upload", parent_id=None,
        state="completed", outcome="partial", round=0, priority=3, why=None, options=UploadOptions(),
        detected=detected, plan=plan, counts=counts or Counts(),
        summary=Summary(verdict={"ok": 3, "do_not_call": 7}, line_type={"toll_free": 2, "mobile": 8}),
        position=None, eta=None, created_at=NOW, started_at=NOW, finished_at=NOW, expires_at=NOW, error=None,
        links=Links(self="/s", page="/p", rows="/r", events="/e", result_csv="/c"),
    )  # fmt: skip


def rejected(number: int, code: RowErrorCode) -> Row:
    error = RowError(code=code, column="Phone", value=PHONE)
    return Row(row=number, line=number + 1, state="rejected", phone=None, cells=(PHONE,), result=None, error=error)


def test_what_was_detected() -> None:
    found = Detected(
        format="csv", encoding="cp1252", delimiter=";", header=True, skipped_lines=2,
        columns=("Name", "Phone", ""), phone_columns=(1, 2),
    )  # fmt: skip
    assert list(detected_lines(upload(detected=found))) == [
        "Detected   CSV, delimiter semicolon, encoding cp1252, with a header, 2 lines above it skipped",
        'Phones in  column 2 "Phone", column 3',
    ]
    assert list(detected_lines(upload())) == []


def test_the_way_from_rows_to_calls() -> None:
    plan = Plan(rows=60, with_phone=59, usable=58, split=0, distinct=44, known=4, calls=40)
    line = plan_line(upload(plan=plan, counts=Counts(rows=60, calls=43, retries=3)))
    assert line.endswith("60 rows → 58 usable → 44 distinct phones → 4 known already → 43 calls, 3 of them retries")


def test_the_outcome_begins_with_what_there_is_most_of() -> None:
    lines = list(outcome_lines(upload(counts=Counts(rows=12, answered=10, rejected=2))))
    assert [line.split(maxsplit=1)[1] for line in lines[:2]] == ["10 answered, 2 rejected", "7 do not call, 3 ok"]
    assert lines[2].endswith("8 mobile, 2 toll free")


def test_reasons_are_grouped_with_the_first_rows_and_without_phones() -> None:
    rows: Sequence[Row] = [rejected(n, "not_a_phone") for n in range(1, 8)] + [rejected(9, "no_phone")]
    lines = list(reason_lines(rows, total=10))
    assert lines[0].strip() == "7 × not a phone number (rows 1, 2, 3, 4, 5, ...)"
    assert lines[1].strip() == "1 × the phone cell is empty (row 9)"
    assert "first 8 of 10" in lines[2]
    assert not any(PHONE in line for line in lines)
