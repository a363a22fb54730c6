"""Cells become phones exactly as `phonenumbers` says, only faster; what is shown of a phone does not give it away."""

import re
import tracemalloc

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import Leniency, PhoneNumberFormat, PhoneNumberMatcher, PhoneNumberType
from pydantic import TypeAdapter

from schemas.phones import LONGEST_PHONE_CHARS, Reading, fingerprint, is_region, mask, normalise, search
from schemas.values import Phone

E164: TypeAdapter[str] = TypeAdapter(Phone)
REGIONS = st.sampled_from(["US", "CA", "GB", "DE", "IT", "AR", "AU", "BR", "BF", "JP", "KR", "FR", "PR"])
PHONE_CHARACTERS = st.sampled_from("0123456789" * 4 + " -().+/xX#;,\u00a0\u3000４٤ABC")
ODD_CELLS = st.text(PHONE_CHARACTERS, max_size=24)


@st.composite
def near_phones(draw: st.DrawFn) -> str:
    """Example numbers of all calling codes with some digits changed, in the shapes that people write."""
    calling_code = draw(st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)))
    example = phonenumbers.example_number(draw(st.sampled_from(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[calling_code])))
    example = example or phonenumbers.example_number_for_non_geo_entity(calling_code)
    assert example is not None
    shape = draw(st.sampled_from([0, 1, 2, 3]))
    characters = list(phonenumbers.format_number(example, shape))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(characters) - 1))
        if characters[at].isdigit():
            characters[at] = draw(st.sampled_from("0123456789"))
    return "".join(characters)


NORTH_AMERICAN = st.from_regex(r"\A(\+1|1)?[ -]?\(?[2-9][0-9]{2}\)?[ .-]?[0-9]{3}[ .-]?[0-9]{4}\Z")
CELLS = st.one_of(ODD_CELLS, near_phones(), NORTH_AMERICAN)


def plainly(cell: str, region: str) -> str | None:
    """What `phonenumbers` says of a cell that lost its blanks and the `.0` of a float, without any shortcut."""
    try:
        number = phonenumbers.parse(re.sub(r"\A(\d+)\.0+\Z", r"\1", cell.strip()), region)
    except phonenumbers.NumberParseException:
        return None
    phone = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return phone if phonenumbers.is_valid_number(number) and len(phone) <= LONGEST_PHONE_CHARS else None


@given(cell=CELLS, region=REGIONS)
def test_a_cell_is_read_as_phonenumbers_reads_it(cell: str, region: str) -> None:
    assert normalise(cell, region).phone == plainly(cell, region)


@given(cell=CELLS, region=REGIONS)
def test_a_cell_is_searched_as_phonenumbers_searches_it(cell: str, region: str) -> None:
    matches = PhoneNumberMatcher(cell.strip(), region, Leniency.VALID, 20)
    theirs = [phonenumbers.format_number(match.number, PhoneNumberFormat.E164) for match in matches]
    assert search(cell, region) == next((phone for phone in theirs if len(phone) <= LONGEST_PHONE_CHARS), None)


@st.composite
def with_more_digits(draw: st.DrawFn) -> tuple[str, str]:
    """An example number of any region with digits or words after it, and that region."""
    region = draw(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
    kind = draw(st.sampled_from([PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.TOLL_FREE]))
    example = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    assert example is not None
    shape = draw(st.sampled_from([PhoneNumberFormat.E164, PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL]))
    suffix = draw(
        st.one_of(st.text("0123456789", max_size=12), st.sampled_from([" (Axel)", " ext. 7", " Kundendienst"]))
    )
    return phonenumbers.format_number(example, shape) + suffix, region


@given(cell=with_more_digits())
def test_what_is_a_phone_here_is_one_for_every_reader_of_a_row(cell: tuple[str, str]) -> None:
    for phone in (normalise(*cell).phone, search(*cell)):
        assert phone is None or E164.validate_python(phone) == phone


@pytest.mark.parametrize(
    ("cell", "read", "found"),
    [
        ("030 23125122 (Axel)", None, "+493023125122"),
        ("0302312512412345", None, None),
        ("030231251241234", None, None),
        ("03023125124123", "+493023125124123", None),
    ],
)
def test_no_phone_has_more_than_15_digits(cell: str, read: str | None, found: str | None) -> None:
    assert normalise(cell, "DE").phone == read
    assert read is not None or search(cell, "DE") == found


@pytest.mark.parametrize(
    ("cell", "phone"),
    [
        ("(415) 555-0100", "+14155550100"),
        ("  415.555.0100 ", "+14155550100"),
        ("+1 415 555 0100", "+14155550100"),
        ("1-415-555-0100", "+14155550100"),
        ("4155550100.0", "+14155550100"),
        ("4155550100.00", "+14155550100"),
        ("tel:+1-415-555-0100", "+14155550100"),
        ("tel:+1-415-555-0100;ext=5", "+14155550100"),
        ("415-555-0100 x12", "+14155550100"),
        ("４１５－５５５－０１００", "+14155550100"),
        ("٤١٥٥٥٥٠١٠٠", "+14155550100"),
        ("415-555-PINE", "+14155557463"),
        ("\u3000415 555 0100\u00a0", "+14155550100"),
    ],
)
def test_the_ways_people_write_phones(cell: str, phone: str) -> None:
    assert normalise(cell, "US") == Reading(phone, None)


@pytest.mark.parametrize("cell", ["4.41234E+11", "4.41234e+11", "4,41234E+11", "4.41E11", "5E+10", " 7.88E+13 "])
def test_scientific_notation_has_lost_digits(cell: str) -> None:
    assert normalise(cell, "GB") == Reading(None, "lost_digits")
    assert search(cell, "GB") is None


@pytest.mark.parametrize("cell", ["", "  ", "\u3000", "\t\n"])
def test_blank_cells_have_no_phone(cell: str) -> None:
    assert normalise(cell, "US") == Reading(None, "no_phone")


@pytest.mark.parametrize(
    "cell", ["N/A", "none", "12345", "415-555-010", "\x00", "9" * 300, "(415) 055-0100", "Å" * 5000]
)
def test_other_cells_are_not_phones(cell: str) -> None:
    assert normalise(cell, "US") == Reading(None, "not_a_phone")


@pytest.mark.parametrize(
    ("cell", "phone"),
    [
        ("call 415-555-0100 or 415-555-0101", "+14155550100"),
        ("Ann: (415) 555-0100; Bob: (415) 555-0101", "+14155550100"),
        ("Dial 988     1-415-555-0100", "+14155550100"),
        ("no number here", None),
        ("415-055-0100", None),
    ],
)
def test_phones_within_text(cell: str, phone: str | None) -> None:
    assert search(cell, "US") == phone


def test_long_cells_are_not_kept_in_memory() -> None:
    tracemalloc.start()
    for number in range(300):
        cell = f"{number} " + "x" * 100_000
        assert normalise(cell, "US").phone is None
        assert search(cell, "US") is None
    held_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held_bytes < 1_000_000


def test_only_the_beginning_of_a_huge_cell_is_searched() -> None:
    assert search("x" * 2_000 + " 415-555-0100", "US") is None


@pytest.mark.parametrize(("phone", "masked"), [("+14155550100", "+1415*****00"), ("+2904321", "+2****21")])
def test_a_mask_shows_little(phone: str, masked: str) -> None:
    assert mask(phone) == masked


@given(phone=st.from_regex(r"\A\+[1-9][0-9]{6,14}\Z"))
def test_a_mask_hides_at_least_a_third(phone: str) -> None:
    assert len(mask(phone)) == len(phone)
    assert mask(phone).count("*") >= len(phone) // 3


def test_a_fingerprint_follows_a_phone_and_needs_the_key() -> None:
    assert fingerprint("+14155550100", b"key") == fingerprint("+14155550100", b"key")
    assert fingerprint("+14155550100", b"key") != fingerprint("+14155550101", b"key")
    assert fingerprint("+14155550100", b"key") != fingerprint("+14155550100", b"other")
    assert "555" not in fingerprint("+14155550100", b"key")


@pytest.mark.parametrize(("region", "known"), [("US", True), ("GB", True), ("us", False), ("XX", False), ("", False)])
def test_regions(region: str, known: bool) -> None:
    assert is_region(region) is known
