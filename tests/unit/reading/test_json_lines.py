"""JSON Lines become rows: keys are columns, numbers keep their digits, a broken line is a row of itself."""

from pathlib import Path

import pytest

from services.ingest.reading import Limits, ReadOptions, Refused, Unusable, detect, find_phone, read_rows
from tests.unit.reading.files import LIMITS, cells_in, detected_in, phone, phones_in, stored


def test_objects(tmp_path: Path) -> None:
    lines = [
        f'{{"id": 1, "phone": "{phone(1)}", "sum": 1.10, "ok": true, "none": null}}',
        "",
        '{"id": 12345678901234567890, "phone": 4155550102, "tags": ["a", {"b": 1}], "late": "\\ud800 x"}',
        '{"phone": ',
        "[1, 2]",
    ]
    detected = detected_in(tmp_path, "\n".join(lines).encode())
    assert (detected.format, detected.encoding, detected.delimiter) == ("jsonl", "utf-8", None)
    assert detected.columns == ("id", "phone", "sum", "ok", "none", "tags", "late")
    assert cells_in(tmp_path, detected) == [
        ("1", phone(1), "1.10", "true", "", "", ""),
        ("12345678901234567890", "4155550102", "", "", "", '["a",{"b":1}]', "\\ud800 x"),
        ('{"phone": ',),
        ("1", "2"),
    ]
    assert phones_in(tmp_path, detected) == ["+14155550101", "+14155550102", None, None]
    assert [row.line for row in read_rows(tmp_path / "upload", detected, LIMITS, start_row=2)] == [3, 4, 5]


@pytest.mark.parametrize(("first", "header", "rows"), [('["id", "phone"]\n', True, 9), ("", False, 9)])
def test_arrays(tmp_path: Path, first: str, header: bool, rows: int) -> None:
    text = first + "".join(f'[{n}, "{phone(n)}"]\n' for n in range(9))
    detected = detected_in(tmp_path, text.encode())
    assert (detected.format, detected.header, detected.phone_columns) == ("jsonl", header, (1,))
    assert cells_in(tmp_path, detected)[0] == ("0", phone(0))
    assert len(cells_in(tmp_path, detected)) == rows


def test_keys_that_appear_late_are_columns_too(tmp_path: Path) -> None:
    text = "".join(f'{{"phone": "{phone(n)}"}}\n' for n in range(2_000)) + f'{{"phone": "{phone(1)}", "note": "x"}}\n'
    assert detected_in(tmp_path, text.encode()).columns == ("phone", "note")


DOCUMENTS = ['[{"phone": "4155550100"},\n {"phone": "4155550101"}]', '{\n  "phone": 1\n}\n', '[{"a": 1}]']


@pytest.mark.parametrize("text", DOCUMENTS)
def test_a_json_document_is_not_json_lines(tmp_path: Path, text: str) -> None:
    with pytest.raises(Refused) as refused:
        detected_in(tmp_path, text.encode())
    assert refused.value.code == "not-json-lines"


def test_hostile_lines(tmp_path: Path) -> None:
    text = f'{{"phone": "{phone(1)}"}}\n{{"phone": "{phone(2)}"}}\n' + "[" * 50_000 + "\n" + '{"a":' * 20_000 + "\n"
    detected = detected_in(tmp_path, text.encode())
    last = cells_in(tmp_path, detected)[-1]
    assert last == ('{"a":' * 20_000,)
    assert isinstance(find_phone(last, detected), Unusable)


@pytest.mark.parametrize(
    ("limits", "code"),
    [(Limits(max_columns=2), "too-many-columns"), (Limits(max_line_chars=80), "line-too-long")],
)
def test_limits(tmp_path: Path, limits: Limits, code: str) -> None:
    text = f'{{"phone": "{phone(1)}"}}\n{{"phone": "", "b": 1, "c": "{"x" * 90}"}}\n'
    with pytest.raises(Refused) as refused:
        detect(stored(tmp_path, text.encode()), ReadOptions(), limits)
    assert refused.value.code == code
