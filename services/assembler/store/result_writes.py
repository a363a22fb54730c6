"""Owns the writes of results, and their reads for the answer rule."""

import json
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, delete, select

from schemas.lookups import LookupResult
from services.assembler.domain.answers import AnswerCandidate, AnsweredRound, answered_round
from services.assembler.domain.result_columns import stored_values
from services.assembler.domain.stored_numbers import from_micros
from services.assembler.store.dialect import compiled, insert_or_ignore
from services.assembler.store.tables import results

PHONES_PER_QUERY = 1000


def insert_results(connection: Connection, placed: Sequence[tuple[str, LookupResult, AnswerCandidate]]) -> None:
    """Stores results that can answer a row, each at its place in the log."""
    if placed:
        statement = compiled(connection, insert_or_ignore(connection, results))
        values = [_values(phone, result, candidate) for phone, result, candidate in placed]
        connection.exec_driver_sql(statement, values)


def _values(phone: str, result: LookupResult, candidate: AnswerCandidate) -> tuple[Any, ...]:
    """The stored values of a result, in the order of the table's columns."""
    error = result.error
    return (
        candidate.id,
        phone,
        *stored_values(result),
        None if error is None else error.code,
        None if error is None else error.model_dump_json(),
        json.dumps(candidate.answers),
    )


def candidates_of(connection: Connection, phones: Collection[str]) -> dict[str, tuple[AnswerCandidate, ...]]:
    """Each phone's results in log order; an empty tuple for a phone without any."""
    found: dict[str, list[AnswerCandidate]] = {phone: [] for phone in phones}
    of = results.c
    columns = select(of.phone, of.id, of.outcome, of.looked_up_at, of.answers, of.verdict, of.line_type, of.error_code)
    for part in _parts(list(found)):
        stored = connection.execute(columns.where(of.phone.in_(part)).order_by(of.id))
        for phone, id_, outcome, looked_up_at, answers, verdict, line_type, error_code in stored:
            candidate = AnswerCandidate(
                id=id_,
                outcome=outcome,
                looked_up_at=from_micros(looked_up_at),
                answers=_answered_rounds(answers),
                verdict=verdict,
                line_type=line_type,
                error_code=error_code,
            )
            found[phone].append(candidate)
    return {phone: tuple(candidates) for phone, candidates in found.items()}


@lru_cache(maxsize=4096)
def _answered_rounds(answers: str) -> tuple[AnsweredRound, ...]:
    return tuple(answered_round(upload_id, round_) for upload_id, round_ in json.loads(answers))


def count_known(connection: Connection, phones: Collection[str], *, since_micros: int, until_micros: int) -> int:
    """How many of the phones had data that is not a failure, looked up between the two times."""
    known: set[str] = set()
    for part in _parts(sorted(set(phones))):
        query = select(results.c.phone).where(
            results.c.phone.in_(part),
            results.c.outcome != "failed",
            results.c.looked_up_at >= since_micros,
            results.c.looked_up_at <= until_micros,
        )
        known.update(connection.execute(query).scalars())
    return len(known)


def delete_results(connection: Connection, phone: str) -> None:
    """Erases all results of a phone."""
    connection.execute(delete(results).where(results.c.phone == phone))


def _parts(phones: list[str]) -> Iterable[list[str]]:
    return (phones[start : start + PHONES_PER_QUERY] for start in range(0, len(phones), PHONES_PER_QUERY))
