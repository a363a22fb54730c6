"""The shapes that the store takes and gives have the columns of their tables."""

from dataclasses import fields

from services.assembler.domain.stored import AuditEntry, StoredSweep, StoredUpload
from services.assembler.store.row_writes import NewRow
from services.assembler.store.tables import audit, rows, sweeps, uploads


def test_a_new_row_is_inserted_by_position_so_it_has_the_order_of_the_table() -> None:
    assert NewRow._fields == tuple(rows.c.keys())


def test_an_upload_has_a_field_for_each_column_and_its_tallies() -> None:
    assert {field.name for field in fields(StoredUpload)} == {*uploads.c.keys(), "verdicts", "line_types"}


def test_audit_entries_and_sweeps_have_a_field_for_each_column_that_is_shown() -> None:
    assert {field.name for field in fields(AuditEntry)} == set(audit.c.keys())
    assert {field.name for field in fields(StoredSweep)} == set(sweeps.c.keys()) - {"by"}
