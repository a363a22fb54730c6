"""JSON Lines become rows: keys are columns, numbers keep their digits, a broken line is a row of itself."""

from pathlib import Path

import pytest

from services.ingest.reading import FileRefused, Limits, ReadOptions, Unusable, find_phone
from services.ingest.reading.formats import detect, read_rows
from tests.unit.ingest.reading.files import LIMITS, cells_in, detected_in, phone, phones_in, stored


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
    with pytest.raises(FileRefused) as refused:
        detected_in(tmp_path, text.encode())
    assert refused.value.code == "not-json-lines"


@pytest.mark.parametrize("chars", [60_000, 70_000, 130_000])
def test_a_long_first_line_is_read_as_any_other(tmp_path: Path, chars: int) -> None:
    lines = [f'{{"phone": "{phone(1)}", "note": "{"x" * chars}"}}', f'{{"phone": "{phone(2)}"}}']
    detected = detected_in(tmp_path, "\n".join(lines).encode())
    assert (detected.format, detected.phone_columns) == ("jsonl", (0,))
    assert [cells[0] for cells in cells_in(tmp_path, detected)] == [phone(1), phone(2)]


@pytest.mark.parametrize("chars", [132_000, 300_000, 3_000_000])
@pytest.mark.parametrize("beginning", ['{"phone": "', '["'])
def test_a_first_line_beyond_the_limit_is_refused_for_its_length(tmp_path: Path, beginning: str, chars: int) -> None:
    end = '"}' if beginning.startswith("{") else '"]'
    with pytest.raises(FileRefused) as refused:
        detected_in(tmp_path, f"{beginning}{'x' * chars}{end}\n".encode())
    assert refused.value.code == "line-too-long"


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
    with pytest.raises(FileRefused) as refused:
        detect(stored(tmp_path, text.encode()), ReadOptions(), limits)
    assert refused.value.code == code


def test_an_object_of_thousands_of_keys_makes_no_other_row_as_wide_as_itself(tmp_path: Path) -> None:
    wide = ", ".join(f'"k{n}": 1' for n in range(2_000))
    text = f'{{"phone": "{phone(1)}", {wide}}}\n' + "".join(f'{{"phone": "{phone(n)}"}}\n' for n in range(50))
    detected = detected_in(tmp_path, text.encode())
    assert len(detected.columns) == 2_001
    assert [len(cells) for cells in cells_in(tmp_path, detected)] == [2_001] + [1] * 50


def test_half_a_surrogate_pair_in_a_key_names_a_column(tmp_path: Path) -> None:
    text = f'{{"phone": "{phone(1)}", "\\ud800": "x"}}\n{{"\\udfff": "y", "phone": "{phone(2)}"}}\n'
    detected = detected_in(tmp_path, text.encode())
    assert detected.columns == ("phone", "\\ud800", "\\udfff")
    assert cells_in(tmp_path, detected) == [(phone(1), "x", ""), (phone(2), "", "y")]


@pytest.mark.parametrize("key", ["k" * 1_001, "k" * 900])
def test_keys_that_no_event_could_carry_are_refused_as_they_are_read(tmp_path: Path, key: str) -> None:
    text = "".join(f'{{"phone": "{phone(n)}", "{key}{n:03}": 1}}\n' for n in range(400))
    with pytest.raises(FileRefused) as refused:
        detected_in(tmp_path, text.encode())
    assert refused.value.code == "header-too-long"
    assert len(refused.value.detail) < 300


def test_a_list_has_no_more_items_than_a_row_may_have_columns(tmp_path: Path) -> None:
    text = f'["{phone(1)}"]\n["{phone(2)}"]\n[' + ",".join("1" * 16_385) + "]\n"
    with pytest.raises(FileRefused) as refused:
        detected_in(tmp_path, text.encode())
    assert refused.value.code == "too-many-columns"
