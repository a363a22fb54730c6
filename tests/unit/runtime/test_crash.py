"""An error that nobody foresaw: the client gets a problem document that says nothing of what was inside."""

import json

from starlette.requests import Request

from services.runtime.problems import on_crash


async def test_the_answer_is_a_problem_and_keeps_the_secret() -> None:
    answer = await on_crash(Request({"type": "http"}), RuntimeError("+14155550100 in an exception's text"))
    assert (answer.status_code, answer.media_type) == (500, "application/problem+json")
    problem = json.loads(bytes(answer.body))
    assert problem["type"] == "/problems/internal-error"
    assert "555" not in bytes(answer.body).decode()
