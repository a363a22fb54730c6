"""Bodies taken apart as they arrive, however they are cut on the way."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.bodies import FieldRead, FileBegan, FileData, UnreadableBody, form_events

BOUNDARY = "----scrub"
CONTENT_TYPE = f'multipart/form-data; boundary="{BOUNDARY}"'


def form(*parts: tuple[str, bytes], closed: bool = True) -> bytes:
    body = b""
    for disposition, content in parts:
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + (f"--{BOUNDARY}--\r\n".encode() if closed else b"")


async def cut(body: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    for size in sizes:
        yield body[:size]
        body = body[size:]
    yield body


async def read(body: bytes, sizes: list[int] | None = None) -> tuple[dict[str, str], str, bytes]:
    fields: dict[str, str] = {}
    name, data = "", b""
    async for event in form_events(cut(body, sizes or []), CONTENT_TYPE):
        match event:
            case FieldRead(key, value):
                fields[key] = value
            case FileBegan(file_name):
                name = file_name
            case FileData(more):
                data += more
    return fields, name, data


@given(
    content=st.binary(max_size=400).filter(lambda c: BOUNDARY.encode() not in c),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda v: BOUNDARY not in v),
    sizes=st.lists(st.integers(1, 60), max_size=12),
)
async def test_fields_and_file_survive_any_cutting(content: bytes, value: str, sizes: list[int]) -> None:
    body = form(('name="region"', value.encode()), ('name="file"; filename="a.csv"', content))
    assert await read(body, sizes) == ({"region": value}, "a.csv", content)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (form(('name="file"; filename="a.csv"', b"1"), closed=False), "missing"),
        (form(('name="file"; filename="a"', b"1"), ('name="file"; filename="b"', b"2")), "one file"),
        (form(('name="region"', b"x" * 20_000)), "over 10000 bytes"),
        (form(*(('name="region"', b"x") for _ in range(101))), "more than 100"),
        (b"this is no form", "cannot be read"),
        (b"", "missing"),
    ],
)
async def test_a_broken_form_says_what_is_wrong(body: bytes, reason: str) -> None:
    with pytest.raises(UnreadableBody, match=reason):
        await read(body)
