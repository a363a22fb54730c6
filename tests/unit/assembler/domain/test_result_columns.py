"""The table of result columns, and what derives from it."""

from datetime import UTC, datetime

import pytest

from schemas.lookups import AttemptError, LookupResult, PhoneData, RowResult
from services.assembler.domain.result_columns import COLUMNS, HEADERS, NAMES, file_cells, shown_values, stored_values
from services.assembler.domain.stored_numbers import to_micros
from services.assembler.store.tables import SCHEMA_VERSION, results

AT = datetime(2026, 3, 1, 9, 30, 15, 250_000, tzinfo=UTC)
DATA = PhoneData(line_type="mobile", carrier="Example Mobile", country="US", reachable="no", do_not_call="no")
OK = LookupResult(phone="+14155550100", outcome="ok", data=DATA, provider="generic", looked_up_at=AT, attempts=2)
GAVE_UP = LookupResult(
    phone="+14155550100",
    outcome="failed",
    provider="generic",
    looked_up_at=AT,
    attempts=6,
    error=AttemptError(error_class="wait", code="http_503", detail="busy", at=AT),
)


def test_each_field_that_people_see_is_a_column_and_the_reverse() -> None:
    assert tuple(RowResult.model_fields) == NAMES
    assert set(PhoneData.model_fields) <= set(NAMES)


def test_the_tables_are_those_of_version_4() -> None:
    before, after = ("id", "phone"), ("error_code", "error", "answers")
    assert tuple(results.c.keys()) == (*before, *NAMES, *after)
    assert {column.name for column in results.c if not column.nullable} == {
        "id",
        "phone",
        "outcome",
        "provider",
        "looked_up_at",
        "attempts",
        "answers",
    }
    assert max(column.since for column in COLUMNS) == SCHEMA_VERSION == 4


@pytest.mark.parametrize("result", [OK, GAVE_UP], ids=["data", "no data"])
def test_what_is_stored_is_what_is_shown(result: LookupResult) -> None:
    stored = dict(zip(NAMES, stored_values(result), strict=True))
    assert stored["looked_up_at"] == to_micros(AT)
    shown = RowResult.model_validate(shown_values(list(stored.values())))
    data = {} if result.data is None else result.data.model_dump()
    assert shown.model_dump() == dict.fromkeys(NAMES) | data | {
        "outcome": result.outcome,
        "verdict": "unreachable" if data else None,
        "provider": "generic",
        "looked_up_at": AT,
        "attempts": result.attempts,
    }


def test_a_row_without_a_result_shows_none() -> None:
    assert shown_values([None] * len(NAMES)) is None
    assert file_cells(None) == [""] * len(HEADERS)


def test_a_file_has_a_cell_for_each_titled_column() -> None:
    shown = RowResult.model_validate(shown_values(stored_values(OK)))
    assert dict(zip(HEADERS, file_cells(shown), strict=True)) == {
        "scrub_verdict": "unreachable",
        "scrub_line_type": "mobile",
        "scrub_carrier": "Example Mobile",
        "scrub_country": "US",
        "scrub_reachable": "no",
        "scrub_do_not_call": "no",
        "scrub_checked_at": "2026-03-01T09:30:15Z",
    }
