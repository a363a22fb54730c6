"""Joins plan questions: adds up how many distinct phones of a checked file were known when it was asked."""

from collections.abc import Iterable

from services.assembler.domain.decoding import PartitionBatch
from services.assembler.domain.stored_numbers import to_micros
from services.assembler.join.transaction.work import Work
from services.assembler.store.plan_answers import add_plan_answer
from services.assembler.store.result_writes import count_known


def join_questions(work: Work, batches: Iterable[PartitionBatch]) -> None:
    """Answers the questions of the batches; a question that was answered before keeps its answer."""
    for batch in batches:
        for question, asked_at in batch.questions:
            touched = work.by_id[question.upload_id]
            since = to_micros(question.accept_since)
            known = count_known(work.connection, question.phones, since_micros=since, until_micros=asked_at)
            add_plan_answer(work.connection, touched.no, question, known=known)
            work.changes.of(touched.no)
