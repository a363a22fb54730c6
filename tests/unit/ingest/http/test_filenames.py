"""Names of files: what browsers and programs send becomes something that can be shown and stored."""

import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.http.filenames import LONGEST_DISPOSITION_CHARACTERS, name_in_disposition, name_in_part, safe_name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="my list.csv"', "my list.csv"),
        ("attachment; filename=list.csv", "list.csv"),
        ("attachment; filename=x.csv; filename*=UTF-8''%e2%82%ac%20rates.csv", "€ rates.csv"),
        ("attachment; filename*=iso-8859-1'en'%A3.csv", "£.csv"),
        ('attachment; filename="a\\"b.csv"', 'a"b.csv'),
        ('attachment; filename="kontakte für.csv"'.encode().decode("latin-1"), "kontakte für.csv"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\Users\\me\\list.csv"', "list.csv"),
        ("attachment; filename*=nonsense'%zz", "upload"),
        ("inline", "upload"),
        (None, "upload"),
        ('attachment; filename=".."', "upload"),
    ],
)
def test_the_name_in_a_content_disposition(header: str | None, name: str) -> None:
    assert name_in_disposition(header) == name


def test_a_form_part_may_hold_utf8_and_escaped_quotes() -> None:
    assert name_in_part('d"é.csv'.replace('"', "%22").encode()) == 'd"é.csv'


def test_a_long_name_keeps_its_ending() -> None:
    name = safe_name("x" * 500 + ".csv")
    assert len(name) == 200
    assert name.endswith(".csv")


@given(st.text())
def test_a_safe_name_has_no_path_no_controls_and_is_never_empty(text: str) -> None:
    name = safe_name(text)
    assert name
    assert not set(name) & set("/\\\r\n\t\0\u202e\u2028")
    assert name not in {".", ".."}
    assert safe_name(name) == name


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")), min_size=1, max_size=50))
def test_any_name_survives_the_extended_form(text: str) -> None:
    header = f"attachment; filename*=UTF-8''{quote(text, safe='')}"
    assert name_in_disposition(header) == safe_name(text)


PIECES = st.sampled_from(
    [
        "attachment",
        ";",
        " ",
        "=",
        '"',
        "\\",
        "filename",
        "filename*",
        "utf-8''",
        "idna''",
        "undefined'en'",
        "%",
        "%ff",
        "x",
    ]
)


@given(st.one_of(st.text(st.characters(max_codepoint=255), max_size=200), st.lists(PIECES).map("".join)))
def test_any_content_disposition_gives_a_name(header: str) -> None:
    assert 1 <= len(name_in_disposition(header)) <= 200


@pytest.mark.parametrize("charset", ["idna", "punycode", "undefined", "unicode_escape", "base64", "a\0b", "x" * 900])
def test_a_charset_that_is_none_is_not_asked_for(charset: str) -> None:
    assert name_in_disposition(f"attachment; filename=a.csv; filename*={charset}''%80%ff") == "a.csv"


@pytest.mark.parametrize("filler", [" ", ";", "=", '"', "\\", '\\"', "a", "; a=", '; a="'])
def test_a_long_header_takes_no_longer_than_a_short_one(filler: str) -> None:
    header = f"attachment; filename={filler * LONGEST_DISPOSITION_CHARACTERS}"
    began = time.process_time()
    name_in_disposition(header[:LONGEST_DISPOSITION_CHARACTERS])
    assert time.process_time() - began < 5
    assert name_in_disposition(header) == "upload"
