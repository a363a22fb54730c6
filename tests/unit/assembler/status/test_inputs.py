"""Parameters, bodies and cursors: whatever a client sends, it is taken or refused by name, and nothing else happens."""

import asyncio
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from schemas.codec import encode
from schemas.phones import mask
from services.assembler.status.api.bad_records import RetryBadRecordsBody
from services.assembler.status.api.dead_letters import DeadLettersQuery
from services.assembler.status.api.endpoints import Endpoint
from services.assembler.status.api.openapi import query_parameters
from services.assembler.status.api.uploads import OneQuery
from services.assembler.status.inputs import Input, form_number, idempotency_key, parse_body, parse_query
from services.assembler.status.operations.clear import ClearBody
from services.assembler.status.operations.cursors import (
    RowsCursor,
    UploadsCursor,
    cursor_numbers,
    encode_cursor,
    number_and_id,
)
from services.assembler.status.operations.dead_letters import RedriveBody
from services.assembler.status.operations.forget import ForgetBody, e164_of
from services.assembler.status.operations.listings import ListQuery, RowsQuery
from services.assembler.status.operations.upload_commands import OptionsBody, PriorityBody, StartBody
from services.assembler.status.role import ENDPOINTS
from services.runtime.problems import ProblemError

HUGE = 10**20


def request(*, query: str = "", body: bytes = b"", **headers: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "query_string": query.encode(), "headers": raw}, receive)


def refused_query(model: type[Input], query: str) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        parse_query(model, request(query=query))
    return refusal.value


def body_of(model: type[Any], body: bytes | str, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else body.encode()
    return asyncio.run(parse_body(model, request(body=raw, **headers)))


def refused_body(model: type[Any], body: bytes | str, **headers: str) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        body_of(model, body, **headers)
    encode(refusal.value.problem)
    return refusal.value


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        (ListQuery, "limit", "0"),
        (ListQuery, "limit", str(HUGE)),
        (ListQuery, "limit", "x"),
        (ListQuery, "state", "never"),
        (ListQuery, "state", ",".join(["failed"] * 21)),
        (ListQuery, "owner", ""),
        (ListQuery, "owner", "a\0b"),
        (ListQuery, "owner", "a" * 201),
        (ListQuery, "cursor", "x"),
        (ListQuery, "nonsense", "1"),
        (OneQuery, "wait", "nan"),
        (OneQuery, "wait", "inf"),
        (OneQuery, "wait", "1e400"),
        (OneQuery, "wait", "-1"),
        (OneQuery, "wait", "61"),
        (RowsQuery, "verdict", "good"),
        (RowsQuery, "cursor", "2147483648"),
        (RowsQuery, "cursor", "-1"),
        (RowsQuery, "cursor", "\0"),
        (RowsQuery, "cursor", "٣"),
        (DeadLettersQuery, "upload_id", "u1"),
        (DeadLettersQuery, "before", "5"),
        (DeadLettersQuery, "before", "0001-01-01T00:00:00+14:00"),
        (DeadLettersQuery, "after", "9999-12-31T23:59:59-14:00"),
        (DeadLettersQuery, "error_code", "a b"),
    ],
)
def test_a_parameter_out_of_bounds_is_named(model: type[Input], name: str, value: str) -> None:
    problem = refused_query(model, urlencode({name: value})).problem
    assert problem.status == 422
    assert {item.column for item in problem.errors} == {name}
    assert all(item.code for item in problem.errors)
    assert problem.errors[0].value == value[:100] or "," in value


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: f"{one.method} {one.path}")
def test_every_list_parameter_may_be_comma_separated(endpoint: Endpoint) -> None:
    for parameter in query_parameters(endpoint.query):
        if parameter["schema"].get("type") == "array":
            value = first_enum(parameter["schema"]["items"])
            parsed = parse_query(endpoint.query, request(query=urlencode({parameter["name"]: f"{value},{value}"})))
            assert getattr(parsed, parameter["name"]) == (value, value)


def first_enum(schema: dict[str, Any]) -> str:
    return str(schema["enum"][0] if "enum" in schema else first_enum(schema["anyOf"][0]))


def test_a_parameter_given_twice_is_refused() -> None:
    assert refused_query(OneQuery, "wait=1&wait=2").problem.errors[0].code == "repeated"
    assert parse_query(ListQuery, request(query="state=failed&state=checked,paused")).state == (
        "failed",
        "checked",
        "paused",
    )


@pytest.mark.parametrize(
    ("model", "body", "name"),
    [
        (OptionsBody, {"phone_columns": [HUGE]}, "phone_columns"),
        (OptionsBody, {"phone_columns": [-1]}, "phone_columns"),
        (OptionsBody, {"phone_columns": [True]}, "phone_columns"),
        (OptionsBody, {"phone_columns": ["x"] * 101}, "phone_columns"),
        (OptionsBody, {"phone_columns": "1"}, "phone_columns"),
        (OptionsBody, {"area_column": HUGE}, "area_column"),
        (OptionsBody, {"area_column": "a\0"}, "area_column"),
        (OptionsBody, {"max_age_seconds": 10**11}, "max_age_seconds"),
        (OptionsBody, {"max_calls": -1}, "max_calls"),
        (OptionsBody, {"sample_rows": 0}, "sample_rows"),
        (OptionsBody, {"sheet": "s" * 201}, "sheet"),
        (OptionsBody, {"delimiter": "ab"}, "delimiter"),
        (OptionsBody, {"region": "us"}, "region"),
        (OptionsBody, {"unknown": 1}, "unknown"),
        (StartBody, {"max_calls": HUGE}, "max_calls"),
        (StartBody, {"sample_rows": 0}, "sample_rows"),
        (PriorityBody, {"priority": 6}, "priority"),
        (PriorityBody, {"priority": "3"}, "priority"),
        (PriorityBody, {}, "priority"),
        (ClearBody, {"older_than_days": 1e300}, "older_than_days"),
        (ClearBody, {"states": ["gone"]}, "states"),
        (ClearBody, {"dry_run": 1}, "dry_run"),
        (RedriveBody, {"before": 5}, "before"),
        (RedriveBody, {"owner": "\0"}, "owner"),
        (RetryBadRecordsBody, {"topic": "nonsense"}, "topic"),
        (RetryBadRecordsBody, {"offset": 2**63}, "offset"),
        (RetryBadRecordsBody, {"dry_run": True}, None),
        (ForgetBody, {"phone": 1}, "phone"),
    ],
)
def test_a_field_out_of_bounds_is_named(model: type[Any], body: dict[str, Any], name: str | None) -> None:
    problem = refused_body(model, json.dumps(body)).problem
    assert problem.status == 422
    assert {item.column for item in problem.errors} == {name}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\xff", 400),
        (b"\0", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"priority":', 400),
        (b'{"priority":NaN}', 400),
        (b'{"priority":' + b"[" * 60_000, 400),
        (b'{"priority":' + b"9" * 60_000 + b"}", 400),
        (b'{"\\ud800":1}', 400),
        ("{}".encode("utf-16"), 400),
        (b'{"priority":1e400}', 422),
        (b'{"priority":-1e999999999}', 422),
        (b'{"priority":' + b"9" * 4_000 + b"}", 422),
        (b'{"priority":1,"priority":2}', 422),
        (b'{"\\ud800":1,"\\ud800":2}', 422),
        (json.dumps({f"x{n}": n for n in range(3_000)}).encode(), 422),
    ],
)
def test_a_body_that_is_no_plain_object_is_refused(body: bytes, status: int) -> None:
    problem = refused_body(PriorityBody, body).problem
    assert problem.status == status
    assert len(problem.errors) <= 21


def test_a_body_says_that_it_is_json_or_nothing() -> None:
    given = b'{"priority": 4.0}'
    for media_type in ("application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json", ""):
        assert body_of(PriorityBody, given, content_type=media_type).priority == 4
    assert refused_body(PriorityBody, given, content_type="text/plain").problem.status == 415
    assert body_of(ClearBody, b"", content_type="text/plain") == ClearBody()


def test_times_in_a_body_are_read_with_their_offset() -> None:
    body = body_of(RedriveBody, '{"after": "2026-01-05T12:00:00+02:00", "before": null}')
    assert body.after.isoformat() == "2026-01-05T10:00:00+00:00"


def test_a_phone_is_not_repeated_by_what_refuses_it() -> None:
    problem = refused_body(ForgetBody, json.dumps({"phone": "+14155550100" * 10})).problem
    assert b"4155550100" not in encode(problem)
    with pytest.raises(ProblemError) as refusal:
        e164_of("415 555 0100 7777", region="US")
    assert b"415" not in encode(refusal.value.problem)


def test_a_number_is_forgotten_as_it_is_written() -> None:
    assert e164_of("+999123", region="US") == "+999123", "whatever may be on the log can be erased"
    assert e164_of("(415) 555-0100", region="US") == "+14155550100"
    assert e164_of("+1 (415) 555-0100", region="DE") == "+14155550100"
    for text in ("", "0", "abc", "+", "+1", "\0", "+0123456789", "+10694243*", "+1415555010012345"):
        assert refused_body(ForgetBody, json.dumps({"phone": text})).problem.status == 422
    for text in ("1234", "0110000", "415555010012345"):
        with pytest.raises(ProblemError) as refusal:
            e164_of(body_of(ForgetBody, json.dumps({"phone": text})).phone, region="US")
        assert refusal.value.problem.status == 404
    assert mask("+14155550100") == "+1415*****00"
    assert mask("+1234") == "+1***"


@pytest.mark.parametrize("key", ["", '""', "\x00", "\x7f", "\xe9", "k" * 256])
def test_an_idempotency_key_is_printable_ascii(key: str) -> None:
    with pytest.raises(ProblemError) as refusal:
        idempotency_key(request(idempotency_key=key))
    assert refusal.value.problem.errors[0].column == "Idempotency-Key"


def test_an_idempotency_key_may_be_quoted() -> None:
    assert idempotency_key(request(idempotency_key='"abc"')) == "abc"
    assert idempotency_key(request()) is None


@pytest.mark.parametrize("text", ["²", "٣", "-1", "1.5", "1" * 13, "", " 1"])
def test_only_digits_are_a_number_of_a_form(text: str) -> None:
    with pytest.raises(ProblemError) as refusal:
        form_number("days", text)
    assert refusal.value.problem.status == 422


@given(st.integers(0, 2**40))
def test_a_rows_cursor_is_any_number_of_32_bits(row: int) -> None:
    try:
        TypeAdapter(RowsCursor).validate_python(encode_cursor(row))
    except ValidationError:
        assert row > 2**31 - 1
    else:
        assert row <= 2**31 - 1
        assert cursor_numbers(encode_cursor(row)) == [row]


def test_an_uploads_cursor_holds_ids_of_earlier_versions() -> None:
    cursor = TypeAdapter(UploadsCursor).validate_python(encode_cursor(12, "an_old_id"))
    assert number_and_id(cursor) == (12, "an_old_id")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_is_asked_the_outcome_is_a_query_or_a_refusal(garbage: bytes) -> None:
    for call in ENDPOINTS:
        for name in (*call.query.model_fields, "nonsense"):
            try:
                parse_query(call.query, request(query=f"{name}={quote(garbage)}"))
            except ProblemError as refusal:
                encode(refusal.problem)


@settings(deadline=None, max_examples=50)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_is_sent_the_outcome_is_a_body_or_a_refusal(raw: bytes) -> None:
    for model in {call.body for call in ENDPOINTS}:
        for field in ("", *model.model_fields):
            sent = raw if not field else b'{"' + field.encode() + b'":' + raw + b"}"
            try:
                body_of(model, sent)
            except ProblemError as refusal:
                encode(refusal.problem)
