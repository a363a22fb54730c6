"""What `show` prints of a record: everything but what names a person."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import schemas
from deploy.masking import FROM_FILES, masked, masked_text
from deploy.show import line_of, main
from schemas import topics
from schemas.export import exported_models, file_stem
from schemas.phones import mask

GOLDEN = Path(schemas.__file__).parent / "golden"
TOPIC_OF = {file_stem(message): topic for topic in topics.TOPICS for message in topic.messages}
PHONE = "+14155550100"
UPLOAD = "2f0c4f4e-9d0b-7c3a-8f57-000000000001"


@dataclass(frozen=True, slots=True)
class Record:
    value: bytes | None
    key: bytes | None = PHONE.encode()
    partition: int = 3
    offset: int = 7
    timestamp: int = 1_772_355_600_000


def texts_of(value: Any, *, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a document with the name of the field that holds it."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from texts_of(one, name=key)
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one, name=name)


def messages() -> list[Path]:
    stems = {path: path.name.partition(".")[0] for path in sorted(GOLDEN.glob("*.json"))}
    return [path for path, stem in stems.items() if stem in TOPIC_OF and stem in exported_models()]


@pytest.mark.parametrize("path", messages(), ids=lambda path: path.stem)
def test_no_message_of_the_contract_shows_a_phone_or_a_text_from_a_file(path: Path) -> None:
    topic = TOPIC_OF[path.name.partition(".")[0]]
    value = path.read_bytes()
    line = line_of(topic, Record(value))
    assert "undecodable: " not in line
    document = "{" + line.partition("{")[2]
    shown = set(texts_of(json.loads(document)))
    for name, text in texts_of(json.loads(value)):
        assert not (text.startswith("+") and text in document)
        assert not (name in FROM_FILES and text and (name, text) in shown)


def test_a_line_says_when_where_and_what() -> None:
    request = json.loads((GOLDEN / "lookup-request.plain.json").read_text(encoding="utf-8"))
    key = f"{PHONE}:{UPLOAD}:0".encode()
    line = line_of(topics.LOOKUP_REQUESTS, Record(json.dumps(request).encode(), key))
    assert line.startswith(f"2026-03-01T09:00:00.000+00:00 3@7 {mask(PHONE)}:{UPLOAD}:0 {{")
    assert json.loads(line.partition(" {")[2].join(["{", ""]))["upload_id"] == request["upload_id"]


@pytest.mark.parametrize(
    ("topic", "record", "says"),
    [
        (topics.LOOKUP_REQUESTS, Record(None), "tombstone"),
        (topics.UPLOAD_FILES, Record(b"Name,Phone", key=None), "- (10 bytes)"),
        (topics.UPLOAD_ROWS, Record(b"\xff +14155550100", key=b"\xff"), "(1 bytes) undecodable: "),
        (topics.UPLOAD_EVENTS, Record(b'{"type":"+14155550100"}'), "undecodable: "),
    ],
)
def test_records_without_a_message(topic: topics.Topic, record: Record, says: str) -> None:
    line = line_of(topic, record)
    assert says in line
    assert "14155550100" not in line


@pytest.mark.parametrize("phone", [PHONE, "(415) 555-0100", "415-555-0100", "4155550100", "+1 415 555 0100"])
def test_whatever_can_be_dialled_is_hidden_wherever_it_stands(phone: str) -> None:
    assert masked({"detail": f"call {phone} now"}) != {"detail": f"call {phone} now"}
    assert "0100" not in masked_text(f"call {phone} now")


@pytest.mark.parametrize("text", [UPLOAD, "2026-03-01T09:00:00.123456Z", "worker-1", "upload 12 of 20", "9092"])
def test_ids_times_and_counts_stay(text: str) -> None:
    assert masked_text(text) == text


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["upload-rows", "--last", "0"], ["upload-rows", "--last", "x"]])
def test_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
