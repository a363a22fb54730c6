"""The reads that run all the time go by an index: a full scan of a million rows would stop the join."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, event

from services.assembler.domain.row_state import State
from services.assembler.domain.stored import DeadLetterFilter
from services.assembler.store.dead_letters import count_dead_letters, group_dead_letters
from services.assembler.store.dialect import connect
from services.assembler.store.join_reads import changed_uploads, unfinished_uploads, waiting_rows
from services.assembler.store.meta import prepare
from services.assembler.store.outbox import unpublished
from services.assembler.store.result_writes import candidates_of
from services.assembler.store.row_writes import open_rows_of_phones, open_rows_of_upload

READS: dict[str, tuple[Callable[[Connection], object], str]] = {
    "open rows of phones": (lambda c: open_rows_of_phones(c, ["+14155550100"]), "rows_open_by_phone"),
    "open rows of an upload": (
        lambda c: open_rows_of_upload(c, 1, states=(State.waiting, State.failed), after_row=0),
        "rows_open_by_upload",
    ),
    "waiting rows": (lambda c: waiting_rows(c, 1, below_round=1, after_row=0, limit=9), "rows_open_by_upload"),
    "failed phones": (count_dead_letters, "rows_open_by_"),
    "dead letters": (lambda c: group_dead_letters(c, DeadLetterFilter()), "rows_open_by_"),
    "results of phones": (lambda c: candidates_of(c, ["+14155550100"]), "ix_results_phone"),
    "changed uploads": (lambda c: changed_uploads(c, [1]), "uploads_unpublished"),
    "unfinished uploads": (lambda c: unfinished_uploads(c, [1]), "uploads_by_state"),
    "completions": (lambda c: unpublished(c, [1]), "outbox_unpublished"),
}


@pytest.fixture
def engine() -> Engine:
    made = connect("sqlite://")
    prepare(made)
    return made


@pytest.mark.parametrize("name", READS)
def test_a_read_goes_by_its_index(engine: Engine, name: str) -> None:
    read, index = READS[name]
    statements: list[tuple[str, object]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def _note(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    with engine.connect() as connection:
        read(connection)
        (statement, parameters), *_ = statements
        # Compiled parameters have no exact type.
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()  # type: ignore[arg-type]
    assert any(index in step[-1] for step in plan), plan
    engine.dispose()
