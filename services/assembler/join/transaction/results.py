"""Joins lookup results: stores each once, settles the open rows of their phones, counts calls, erases phones."""

from collections.abc import Iterable

from schemas.lookups import LookupResult
from services.assembler.domain.answers import AnswerCandidate, candidate_of
from services.assembler.domain.changes import calls_and_retries
from services.assembler.domain.decoding import PartitionBatch
from services.assembler.domain.positions import LookupCounts
from services.assembler.join.transaction.erasure import Erasures
from services.assembler.join.transaction.work import Work
from services.assembler.store.fences import count_lookups
from services.assembler.store.result_writes import insert_results
from services.assembler.store.row_writes import open_rows_of_phones


def join_results(work: Work, batches: Iterable[PartitionBatch], erasures: Erasures) -> None:
    """Stores all results of the batches and settles the rows that they answer. Uploads that paid calls must be open."""
    phones: set[str] = set()
    totals: dict[int, LookupCounts] = {}
    for batch in batches:
        if not batch.results:
            continue
        new = _store(work, batch, erasures)
        phones |= {result.phone for result in new}
        totals[batch.partition] = _count(work, new)
    count_lookups(work.connection, totals)
    if phones:
        work.judge_by(work.candidates(phones), open_rows_of_phones(work.connection, phones))


def _store(work: Work, batch: PartitionBatch, erasures: Erasures) -> list[LookupResult]:
    """Stores one partition's results in log order; returns those that were not there yet.

    The gate writes a result a second time if its producer failed before Kafka acknowledged the first: the log then
    holds the same result at two places, although its calls were made once.
    """
    known = work.candidates({placed.phone for placed in batch.results})
    stored: list[tuple[str, LookupResult, AnswerCandidate]] = []
    new: list[LookupResult] = []
    for placed in batch.results:
        phone, result = placed.phone, placed.result
        if result is None:
            # The erasure also deletes the results before it in the log, so they are stored first.
            insert_results(work.connection, stored)
            stored = []
            erasures.erase(work, phone, placed.at)
            known[phone] = ()
            continue
        candidate = candidate_of(result, partition=batch.partition, offset=placed.offset)
        if any(candidate.repeats(other) for other in known[phone]):
            continue
        known[phone] = (*known[phone], candidate)
        stored.append((phone, result, candidate))
        new.append(result)
        work.cache.add(phone, candidate)
    insert_results(work.connection, stored)
    return new


def _count(work: Work, results: list[LookupResult]) -> LookupCounts:
    retries_of_all = 0
    for upload_id, (calls, retries) in calls_and_retries(results).items():
        touched = work.by_id[upload_id]
        changes = work.changes.of(touched.no)
        changes.calls += calls
        changes.retries += retries
        retries_of_all += retries
    settled = [result for result in results if result.outcome != "failed" or result.answers]
    failed = sum(result.outcome == "failed" for result in settled)
    return LookupCounts(answered=len(settled) - failed, failed=failed, retries=retries_of_all)
