"""A completion event is a CloudEvent 1.0 in binary mode on Kafka, and readers without our code can use it."""

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from schemas.ids import completion_id
from schemas.interface import Upload
from services.assembler.join.completions import headers_of
from services.assembler.store.outbox import Completion

GOLDEN = Path(__file__).parents[2] / "schemas" / "golden" / "upload.completed.json"
RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def a_completion() -> Completion:
    upload = Upload.model_validate_json(GOLDEN.read_bytes())
    return Completion(
        id=completion_id(upload.id, upload.round),
        upload_id=upload.id,
        type=f"phone-scrubber.upload.{upload.state}.v1",
        at=datetime(2026, 3, 1, 9, 0, 9, 500_000, tzinfo=UTC),
        value=GOLDEN.read_bytes(),
    )


def test_the_required_attributes_are_headers() -> None:
    completion = a_completion()
    headers = {name: value.decode() for name, value in headers_of(completion)}
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_type"] == "phone-scrubber.upload.completed.v1"
    assert headers["ce_subject"] == completion.upload_id
    assert headers["content-type"] == "application/json"
    assert headers["ce_source"]
    assert RFC3339_UTC.fullmatch(headers["ce_time"])


def test_attribute_names_are_those_of_the_kafka_binding() -> None:
    names = [name for name, _ in headers_of(a_completion())]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"ce_[a-z0-9]+|content-type", name) for name in names)


def test_the_id_is_the_same_for_each_publication_of_a_round_and_another_for_the_next() -> None:
    completion = a_completion()
    assert UUID(completion.id).version == 5
    assert completion_id(completion.upload_id, 1) == completion.id != completion_id(completion.upload_id, 2)
