"""Joins plan questions: adds up how many distinct phones of a checked file were known when it was asked."""

from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from services.assembler.domain.decoding import PartitionBatch
from services.assembler.domain.stored_numbers import to_micros
from services.assembler.join.transaction.work import Work
from services.assembler.store.dialect import insert_or_ignore
from services.assembler.store.result_writes import count_known
from services.assembler.store.tables import plan_answers


def join_questions(work: Work, batches: Iterable[PartitionBatch]) -> None:
    """Answers the questions of the batches; one that was asked before keeps its answer."""
    for batch in batches:
        for question, asked_at in batch.questions:
            touched = work.by_id[question.upload_id]
            since = to_micros(question.accept_since)
            known = count_known(work.connection, question.phones, since_micros=since, until_micros=asked_at)
            values = {
                "upload_no": touched.no,
                "check_id": question.check_id,
                "batch": question.batch,
                "last": question.last,
                "known": known,
            }
            connection = work.connection
            connection.execute(insert_or_ignore(connection, plan_answers), values)
            work.changes.of(touched.no)


def known_phones(connection: Connection, upload_no: int, check_id: str) -> int | None:
    """Known phones of a check; None until all its questions are answered."""
    of_check = (plan_answers.c.upload_no == upload_no, plan_answers.c.check_id == check_id)
    last = connection.execute(select(plan_answers.c.batch).where(*of_check, plan_answers.c.last)).scalar()
    if last is None:
        return None
    count, known = connection.execute(select(func.count(), func.sum(plan_answers.c.known)).where(*of_check)).one()
    return int(known) if count == last + 1 else None
