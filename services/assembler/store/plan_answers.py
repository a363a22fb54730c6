"""Owns the answers to plan questions: how many distinct phones of each batch were known when the question was asked."""

from sqlalchemy import Connection, func, select

from schemas.uploads import PlanQuestion
from services.assembler.store.dialect import insert_or_ignore
from services.assembler.store.tables import plan_answers


def add_plan_answer(connection: Connection, upload_no: int, question: PlanQuestion, *, known: int) -> None:
    """Stores the answer, unless the question has one."""
    values = {
        "upload_no": upload_no,
        "check_id": question.check_id,
        "batch": question.batch,
        "last": question.last,
        "known": known,
    }
    connection.execute(insert_or_ignore(connection, plan_answers), values)


def known_phones(connection: Connection, upload_no: int, check_id: str) -> int | None:
    """Known phones of a check; None until all its questions are answered."""
    of_check = (plan_answers.c.upload_no == upload_no, plan_answers.c.check_id == check_id)
    last = connection.execute(select(plan_answers.c.batch).where(*of_check, plan_answers.c.last)).scalar()
    if last is None:
        return None
    count, known = connection.execute(select(func.count(), func.sum(plan_answers.c.known)).where(*of_check)).one()
    return int(known) if count == last + 1 else None
