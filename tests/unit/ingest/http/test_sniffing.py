"""What is refused before it is stored: only what plainly is no table."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.http.sniffing import HEAD_BYTES, binary_kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"%PDF-1.7\n...", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "a PNG picture"),
        (b"MZ\x90\x00\x03\x00\x00\x00" + bytes(60), "a program"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an old binary Office file (.xls or .doc)"),
        (bytes(range(256)) * 8, "binary data"),
        (bytes(4096), "binary data"),
    ],
)
def test_plainly_binary_files_are_named(head: bytes, kind: str) -> None:
    assert binary_kind(head) == kind


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"x",
        b"MZ,phone\n1,+14155550100\n",
        b"PK\x03\x04" + bytes(200),
        b"\x1f\x8b\x08" + bytes(200),
        "name\tphone\nZoë\t+14155550100\n".encode("utf-16"),
        ("name\tphone\nZoë\t+14155550100\n" * 9).encode("utf-16-le"),
        "名前,電話\n山田,+14155550100\n".encode("shift_jis"),
        "이름,전화\n김,+14155550100\n".encode("cp949"),
        b"name,phone\nA\x00B,+14155550100\n" * 40,
        b"a,b\x1a",
    ],
)
def test_whatever_may_be_a_table_passes(head: bytes) -> None:
    assert binary_kind(head) is None


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=300))
def test_no_text_is_refused(text: str) -> None:
    assert binary_kind(f"name;phone\n{text}".encode()) is None


@pytest.mark.samples
def test_every_sample_passes(samples: Path) -> None:
    files = [path for path in samples.rglob("*") if path.suffix in {".csv", ".xlsx"}]
    assert files
    refused = {path.name: kind for path in files if (kind := binary_kind(path.read_bytes()[:HEAD_BYTES]))}
    assert refused == {}
