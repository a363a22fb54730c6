"""The spool of prepared rows: what goes in comes out, from any row on, as values that the contract accepts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import MAX_VALUE_BYTES, decode, encode
from schemas.rows import RejectedRow, UploadRow, decode_row
from services.ingest.feeder.preparation.distinct_phones import DistinctPhones, read_batches
from services.ingest.feeder.preparation.row_file import (
    MOST_BODY_BYTES,
    PreparedReader,
    PreparedRow,
    PreparedWriter,
    RowTooLong,
)
from services.ingest.feeder.row_values import left_out_head, rejected_head, rejected_value, row_head, usable_value
from services.ingest.feeder.upload_state import FeederUpload, opened_upload
from services.runtime.partitions import partition_hash
from tests.unit.ingest.builders import U, opened

ERROR: dict[str, str | None] = {"code": "not_a_phone", "column": "Phone", "value": "n/a", "detail": "Not a phone."}
CASE: FeederUpload = opened_upload(opened(priority=2), offset=0)


def write(folder: Path, rows: int) -> None:
    with PreparedWriter(folder) as writer:
        for row in range(1, rows + 1):
            cells = (f"Zoë {row}", "x" * (row % 50))
            if row % 3:
                writer.usable(row=row, line=row + 1, cells=cells, phone=f"+1415555{row:04d}")
            else:
                writer.rejected(row=row, line=row + 1, cells=cells, error=ERROR)


def value_of(row: PreparedRow) -> UploadRow | RejectedRow:
    if row.phone:
        return decode(UploadRow, usable_value(row, row_head(CASE, default_max_age_seconds=60)))
    return decode(RejectedRow, rejected_value(row, rejected_head(CASE)))


@pytest.mark.parametrize("first", [1, 2, 1024, 1025, 1026, 2500])
def test_reading_begins_at_any_row(tmp_path: Path, first: int) -> None:
    write(tmp_path, 2500)
    reader = PreparedReader(tmp_path, first)
    assert [value_of(row).row for row in reader.take(10_000)] == list(range(first, 2501))
    assert reader.next_row == 2501


def test_no_turn_is_larger_than_memory_allows(tmp_path: Path) -> None:
    with PreparedWriter(tmp_path) as writer:
        for row in range(1, 31):
            writer.usable(row=row, line=row, cells=("x" * 900_000,), phone="+14155550100")
    reader = PreparedReader(tmp_path)
    turns = [len(reader.take(2_000)) for _ in range(4)]
    assert turns == [10, 10, 10, 0]
    assert [len(PreparedReader(tmp_path, row).take(1)) for row in (1, 30, 31, 2**31)] == [1, 1, 0, 0]


def test_rows_become_messages_of_the_contract(tmp_path: Path) -> None:
    write(tmp_path, 3)
    reader = PreparedReader(tmp_path)
    usable, _, rejected = reader.take(3)
    assert value_of(usable) == UploadRow(
        upload_id=U,
        row=1,
        line=2,
        phone="+14155550001",
        cells=("Zoë 1", "x"),
        owner="o",
        priority=2,
        wanted_at=CASE.opened.at,
        accept_since=CASE.accept_since(default_max_age_seconds=60),
    )
    assert usable.hash == partition_hash(b"+14155550001")
    assert value_of(rejected) == RejectedRow.model_validate(
        {"upload_id": U, "row": 3, "line": 4, "cells": ("Zoë 3", "xxx"), "error": ERROR}
    )
    left_out = decode(RejectedRow, rejected_value(usable, left_out_head(CASE, "Stopped.")))
    assert (left_out.row, left_out.cells, left_out.error.code) == (1, ("Zoë 1", "x"), "cancelled")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_cells_are_unchanged(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    folder = tmp_path_factory.mktemp("spool")
    with PreparedWriter(folder) as writer:
        writer.usable(row=1, line=2, cells=tuple(cells), phone="+14155550100")
    reader = PreparedReader(folder)
    (row,) = reader.take(5)
    assert value_of(row).cells == tuple(cells)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    write(tmp_path, 0)
    reader = PreparedReader(tmp_path)
    assert reader.take(5) == []


def test_a_row_that_no_record_can_hold_is_refused(tmp_path: Path) -> None:
    with PreparedWriter(tmp_path) as writer, pytest.raises(RowTooLong):
        writer.usable(row=1, line=1, cells=("x" * MOST_BODY_BYTES,), phone="+14155550100")


@given(st.lists(st.integers(1000, 10**15 - 1).map(lambda number: f"+{number}"), max_size=200), st.integers(1, 50))
def test_each_distinct_phone_comes_once_in_a_fixed_order(
    tmp_path_factory: pytest.TempPathFactory, phones: list[str], batch_phones: int
) -> None:
    path = tmp_path_factory.mktemp("phones") / "phones"
    read = []
    for order in (phones, phones[::-1]):
        distinct = DistinctPhones()
        for phone in order:
            distinct.add(phone)
        assert distinct.write(path) == len(set(phones))
        read.append([phone for batch in read_batches(path, batch_phones=batch_phones) for phone in batch])
    assert read[0] == read[1]
    assert sorted(read[0]) == sorted(set(phones))


def test_the_longest_row_fits_a_record_also_when_it_is_published_again(tmp_path: Path) -> None:
    owner = "\x01" * 200
    upload = opened_upload(opened(priority=5).model_copy(update={"owner": owner}), offset=2**62)
    spare = MOST_BODY_BYTES - len(b'"row":2147483647,"line":2147483647,"cells":[""]}')
    with PreparedWriter(tmp_path) as writer:
        writer.usable(row=2**31 - 1, line=2**31 - 1, cells=("x" * spare,), phone="+123456789012345")
    (row,) = PreparedReader(tmp_path).take(1)
    assert len(row.body) == MOST_BODY_BYTES
    value = usable_value(row, row_head(upload, default_max_age_seconds=60))
    message = decode(UploadRow, value)
    again = message.model_copy(update={"again": True, "round": 2**31 - 1})
    assert len(value) <= len(encode(again)) <= MAX_VALUE_BYTES
    assert decode(UploadRow, encode(again)) == again
    assert decode_row(encode(again), timestamp_ms=-1)["cells"] == ["x" * spare]
