"""The column of phones is the one a person would choose, and what only looks like phones is left alone."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from services.ingest.reading import FileRefused, FoundPhone, ReadOptions, Unusable, find_phone
from services.ingest.reading.header_words import hint_of
from tests.unit.ingest.reading.files import cells_in, detected_in, people, phone, phones_in, written

Maker = Callable[[Random], str]


def digits(source: Random, count: int) -> str:
    return str(source.randrange(10 ** (count - 1), 10**count))


MAKERS: dict[str, Maker] = {
    "npi": lambda source: "1" + digits(source, 9),
    "facebook_id": lambda source: digits(source, 14),
    "zip": lambda source: digits(source, 5),
    "zip4": lambda source: f"{digits(source, 5)}-{digits(source, 4)}",
    "ssn": lambda source: f"{digits(source, 3)}-{digits(source, 2)}-{digits(source, 4)}",
    "date": lambda source: f"20{source.randrange(10, 25)}-0{source.randrange(1, 10)}-1{source.randrange(10)}",
    "compact_date": lambda source: f"20{source.randrange(10, 25)}0{source.randrange(1, 10)}1{source.randrange(10)}",
    "latitude": lambda source: f"40.{digits(source, 8)}",
    "longitude": lambda source: f"-87.{digits(source, 14)}",
    "cnpj": lambda source: f"{digits(source, 2)}.{digits(source, 3)}.{digits(source, 3)}/0001-{digits(source, 2)}",
    "price": lambda source: f"{source.randrange(10**6) / 100}",
    "name": lambda source: f"Person {source.randrange(99)}",
}


def any_phone(source: Random) -> str:
    return phone(source.randrange(100))


def table(headers: dict[str, str], count: int = 60) -> list[list[str]]:
    """Headers and what is in their columns: a maker's name, or `phone`."""
    source = Random(7)
    row = [MAKERS.get(kind, any_phone) for kind in headers.values()]
    return [list(headers), *([make(source) for make in row] for _ in range(count))]


DECOYS = {name: name for name in MAKERS if name != "zip4"}


@pytest.mark.parametrize("region", ["US", "GB", "DE", "AU", "JP", "BR", "FR"])
def test_files_without_phones_are_refused(tmp_path: Path, region: str) -> None:
    with pytest.raises(FileRefused) as refused:
        detected_in(tmp_path, written(table(DECOYS)).encode(), ReadOptions(region=region))
    assert refused.value.code == "no-phone-column"
    assert "facebook_id" in refused.value.detail


def test_phones_are_found_among_decoys_by_content_alone(tmp_path: Path) -> None:
    headers = {f"column {at}": kind for at, kind in enumerate([*MAKERS, "phone"])}
    detected = detected_in(tmp_path, written(table(headers)).encode())
    assert (detected.phone_columns, detected.other_phone_columns) == ((len(MAKERS),), ())


@pytest.mark.parametrize(
    ("headers", "best", "others"),
    [
        ({"Fax": "phone", "Phone": "phone"}, 1, (0,)),
        ({"TTY": "phone", "FAX": "phone", "PHONE": "phone"}, 2, (0, 1)),
        ({"home phone": "phone", "cell": "phone"}, 0, (1,)),
        ({"Telefax": "phone", "Rufnummer": "phone"}, 1, (0,)),
        ({"phone": "name", "contact": "phone"}, 1, ()),
        ({"phone": "phone", "phone ext": "zip", "phone type": "name"}, 0, ()),
        ({"fax": "phone", "name": "name"}, 0, ()),
        ({"ファックス番号": "phone", "電話番号": "phone"}, 1, (0,)),
    ],
)
def test_headers_are_a_hint(tmp_path: Path, headers: dict[str, str], best: int, others: tuple[int, ...]) -> None:
    detected = detected_in(tmp_path, written(table(headers)).encode())
    assert (detected.phone_columns, detected.other_phone_columns) == ((best,), others)


def test_local_numbers_are_a_phone_column_if_the_header_says_so(tmp_path: Path) -> None:
    rows = [["NOMBRE", "TELEFONO"], *([f"Hotel {n}", f"4348-50{n:02d}/ FAX: 4348-52{n:02d}"] for n in range(40))]
    detected = detected_in(tmp_path, written(rows, ";").encode(), ReadOptions(region="AR"))
    assert detected.phone_columns == (1,)
    rows[0] = ["NOMBRE", "X"]
    with pytest.raises(FileRefused):
        detected_in(tmp_path, written(rows, ";").encode(), ReadOptions(region="AR"))


def test_phones_that_begin_far_down_are_found(tmp_path: Path) -> None:
    rows = [["id", "contact"], *([str(n), ""] for n in range(40_000))]
    rows += [[str(n), phone(n)] for n in range(9_000)]
    assert detected_in(tmp_path, written(rows).encode()).phone_columns == (1,)


@pytest.mark.parametrize("name", ["phone", "PHONE ", 2, "2"])
def test_a_person_may_choose_the_column(tmp_path: Path, name: str | int) -> None:
    detected = detected_in(tmp_path, written(people(9)).encode(), ReadOptions(phone_columns=(name,)))
    assert detected.phone_columns == (2,)


WRONG_CHOICES = [("tel", "unknown-column"), (9, "unknown-column"), ("x", "ambiguous-column")]


@pytest.mark.parametrize(("name", "code"), WRONG_CHOICES)
def test_a_wrong_choice_is_refused_with_what_there_is(tmp_path: Path, name: str | int, code: str) -> None:
    rows = [["phone", "x", "x"], *([phone(n), "", ""] for n in range(9))]
    with pytest.raises(FileRefused) as refused:
        detected_in(tmp_path, written(rows).encode(), ReadOptions(phone_columns=(name,)))
    assert refused.value.code == code
    assert "phone" in refused.value.detail or "0 to 2" in refused.value.detail or "1, 2" in refused.value.detail


def test_several_columns_are_tried_in_order(tmp_path: Path) -> None:
    rows = [["a", "b"], [phone(1), phone(2)], ["", phone(3)], ["n/a", ""], ["", ""], ["x", f"or {phone(4)} at noon"]]
    options = ReadOptions(phone_columns=("a", "b"))
    detected = detected_in(tmp_path, written(rows).encode(), options)
    found = [find_phone(cells, detected) for cells in cells_in(tmp_path, detected)]
    assert found[0] == FoundPhone("+14155550101", 0, False)
    assert found[1] == FoundPhone("+14155550103", 1, False)
    assert isinstance(found[2], Unusable)
    assert (found[2].code, found[2].column, found[2].value) == ("not_a_phone", 0, "n/a")
    assert isinstance(found[3], Unusable)
    assert (found[3].code, found[3].column) == ("no_phone", 0)
    assert found[4] == FoundPhone("+14155550104", 1, True)


def test_lost_digits_are_said_to_be_lost(tmp_path: Path) -> None:
    detected = detected_in(tmp_path, f"name,phone\na,4.15555E+9\nb,{phone(1)}\n".encode())
    lost, found = (find_phone(cells, detected) for cells in cells_in(tmp_path, detected))
    assert isinstance(lost, Unusable)
    assert (lost.code, lost.value) == ("lost_digits", "4.15555E+9")
    assert "4.15" not in lost.detail
    assert isinstance(found, FoundPhone)


AREA = [["name", "area code", "phone"], *(["x", "415", f"555-01{n:02d}"] for n in range(30))]


def test_a_separate_area_code_is_offered_and_used_when_chosen(tmp_path: Path) -> None:
    offered = detected_in(tmp_path, written(AREA).encode())
    assert (offered.phone_columns, offered.area_column, offered.area_column_candidates) == ((2,), None, (1,))
    assert phones_in(tmp_path, offered) == [None] * 30

    chosen = detected_in(tmp_path, written(AREA).encode(), ReadOptions(area_column="area code"))
    assert phones_in(tmp_path, chosen) == [f"+141555501{n:02d}" for n in range(30)]
    assert find_phone(("x", "415.0", "5550100.0"), chosen) == FoundPhone("+14155550100", 2, False)
    assert find_phone(("x", "", phone(5)), chosen) == FoundPhone("+14155550105", 2, False)
    assert find_phone(("x", "415", phone(5)), chosen) == FoundPhone("+14155550105", 2, False)
    assert isinstance(find_phone(("x", "415", ""), chosen), Unusable)


def test_an_unnamed_area_code_is_offered_by_content(tmp_path: Path) -> None:
    rows = [["n", "a", "phone"], *AREA[1:]]
    assert detected_in(tmp_path, written(rows).encode()).area_column_candidates == (1,)


def test_an_unknown_region_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileRefused) as refused:
        detected_in(tmp_path, written(people(3)).encode(), ReadOptions(region="XX"))
    assert refused.value.code == "unknown-region"


def test_profiles_show_each_column(tmp_path: Path) -> None:
    profiles = detected_in(tmp_path, written(people(9)).encode()).profiles
    assert [(profile.header, profile.phone_share) for profile in profiles] == [("id", 0), ("name", 0), ("phone", 1)]
    assert profiles[2].samples == (phone(0), phone(1), phone(2))


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("Phone", "phone"), ("telephoneNumber", "phone"), ("Full_Phone_No", "phone"), ("gentele", "phone"),
        ("TELÉFONOS", "phone"), ("Téléphone", "phone"), ("Celular", "phone"), ("mobile", "phone"), ("cell", "phone"),
        ("施設電話番号", "phone"), ("전화번호", "phone"), ("手机", "phone"), ("Телефон", "phone"),
        ("WhatsApp", "phone"),
        ("Fax", "lesser_phone"), ("faxNumber", "lesser_phone"), ("TTY", "lesser_phone"), ("Telefax", "lesser_phone"),
        ("phone area code", "area_code"), ("Telefonvorwahl", "area_code"), ("市外局番", "area_code"),
        ("phone type", "other"), ("email", "other"), ("Date", "other"), ("ZIP Code", "other"), ("cellar", "none"),
        ("television", "none"), ("cancelled", "none"), ("", "none"), ("Phone / Fax", "phone"),
    ],
)  # fmt: skip
def test_what_headers_say(header: str, hint: str) -> None:
    assert hint_of(header) == hint


RESULTS = ["scrub_phone", "scrub_status", "scrub_error"]


def again(count: int, good: int) -> list[list[str]]:
    """Rows of a result file, of which so many have a number that was valid."""
    rows = [["id", "Phone", *RESULTS]]
    rows += [[str(n), phone(n), f"+1415555{100 + n:04d}", "failed", "gave_up"] for n in range(good)]
    return rows + [[str(n), f"call me {n}", "", "rejected", "not_a_phone"] for n in range(good, count)]


@pytest.mark.parametrize("good", [0, 1, 5, 20])
def test_results_of_an_earlier_run_are_not_taken_for_the_numbers(tmp_path: Path, good: int) -> None:
    detected = detected_in(tmp_path, written(again(20, good)).encode())
    assert detected.phone_columns == (1,)
    assert detected.other_phone_columns == ()


def test_the_numbers_of_an_earlier_run_will_do_where_they_are_all_there_is(tmp_path: Path) -> None:
    rows = [["Name", "scrub_phone"], *([f"P {n}", f"+1415555{100 + n:04d}"] for n in range(9))]
    detected = detected_in(tmp_path, written(rows).encode())
    assert detected.phone_columns == (1,)
