"""Owns the writes of results, and their reads for the answer rule."""

import json
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, delete, select

from schemas.lookups import LookupResult
from services.assembler.domain.answers import AnswerCandidate, AnsweredRound, answered_round
from services.assembler.domain.stored_numbers import from_micros, to_micros
from services.assembler.store.dialect import insert_or_ignore
from services.assembler.store.tables import results

PHONES_PER_QUERY = 1000


def insert_results(connection: Connection, placed: Sequence[tuple[str, LookupResult, AnswerCandidate]]) -> None:
    """Stores results that can answer a row, each at its place in the log."""
    if placed:
        values = [_values(phone, result, candidate) for phone, result, candidate in placed]
        connection.execute(insert_or_ignore(connection, results), values)


def _values(phone: str, result: LookupResult, candidate: AnswerCandidate) -> dict[str, Any]:
    data = result.data
    return {
        "id": candidate.id,
        "phone": phone,
        "outcome": result.outcome,
        "verdict": candidate.verdict,
        "line_type": candidate.line_type,
        "carrier": None if data is None else data.carrier,
        "country": None if data is None else data.country,
        "reachable": None if data is None else data.reachable,
        "do_not_call": None if data is None else data.do_not_call,
        "provider": result.provider,
        "looked_up_at": to_micros(result.looked_up_at),
        "attempts": result.attempts,
        "error_code": None if result.error is None else result.error.code,
        "error": None if result.error is None else result.error.model_dump_json(),
        "answers": json.dumps(candidate.answers),
    }


_CANDIDATE_COLUMNS = (
    results.c.phone,
    results.c.id,
    results.c.outcome,
    results.c.looked_up_at,
    results.c.answers,
    results.c.verdict,
    results.c.line_type,
    results.c.error_code,
)


def candidates_of(connection: Connection, phones: Collection[str]) -> dict[str, tuple[AnswerCandidate, ...]]:
    """Each phone's results in log order; an empty tuple for a phone without any."""
    found: dict[str, list[AnswerCandidate]] = {phone: [] for phone in phones}
    for part in _parts(list(found)):
        query = select(*_CANDIDATE_COLUMNS).where(results.c.phone.in_(part)).order_by(results.c.id)
        for phone, *columns in connection.execute(query):
            found[phone].append(candidate_from(*columns))
    return {phone: tuple(candidates) for phone, candidates in found.items()}


def candidate_from(
    id_: int,
    outcome: Any,
    looked_up_at: int,
    answers: str,
    verdict: str | None,
    line_type: str | None,
    error_code: str | None,
) -> AnswerCandidate:
    """The candidate in a row of `results`."""
    return AnswerCandidate(id_, outcome, from_micros(looked_up_at), _pairs(answers), verdict, line_type, error_code)


@lru_cache(maxsize=4096)
def _pairs(answers: str) -> tuple[AnsweredRound, ...]:
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
