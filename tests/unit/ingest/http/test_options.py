"""Options as people give them: read, or refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.uploads import UploadOptions
from services.ingest.http.options import OPTION_NAMES, WrongOptions, read_options


def test_every_option_is_read() -> None:
    pairs = [
        ("phone_column", "Phone 2"),
        ("phone_column", "3"),
        ("area_column", "0"),
        ("region", "gb"),
        ("priority", "1"),
        ("max_age_seconds", "0"),
        ("start", "false"),
        ("max_calls", "10"),
        ("sample_rows", "5"),
        ("delimiter", "tab"),
        ("header", "true"),
    ]
    assert read_options(pairs) == UploadOptions(
        phone_columns=("Phone 2", 3),
        area_column=0,
        region="GB",
        priority=1,
        max_age_seconds=0,
        start=False,
        max_calls=10,
        sample_rows=5,
        delimiter="\t",
        header=True,
    )


def test_blank_fields_of_a_form_are_as_good_as_none() -> None:
    assert read_options([("region", ""), ("phone_column", " "), ("max_calls", "")]) == UploadOptions()


@pytest.mark.parametrize(
    ("pairs", "field", "code"),
    [
        ([("colour", "red")], "colour", "unknown_option"),
        ([("priority", "9")], "priority", "wrong_value"),
        ([("priority", "high")], "priority", "wrong_value"),
        ([("region", "Europe")], "region", "wrong_value"),
        ([("start", "maybe")], "start", "wrong_value"),
        ([("delimiter", "ab")], "delimiter", "wrong_value"),
        ([("region", "US"), ("region", "GB")], "region", "repeated_option"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fields_name(pairs: list[tuple[str, str]], field: str, code: str) -> None:
    with pytest.raises(WrongOptions) as refusal:
        read_options(pairs)
    (item,) = refusal.value.items
    assert (item.column, item.code) == (field, code)
    assert field in (item.detail or "")


def test_all_wrong_options_are_named_at_once() -> None:
    with pytest.raises(WrongOptions) as refusal:
        read_options([("colour", "red"), ("priority", "9")])
    assert {item.column for item in refusal.value.items} == {"colour", "priority"}


HOSTILE_VALUES = [
    "1" + "0" * 20,
    "1" * 500,
    "-1",
    "1e400",
    "nan",
    "\0",
    "a\0b",
    "x" * 501,
    "\u202e",
    "٣",
    "²",
    "{}",
    "1.5",
]
NUMBERS = {"priority", "max_age_seconds", "max_calls", "sample_rows"}


@pytest.mark.parametrize("name", OPTION_NAMES)
@pytest.mark.parametrize("value", HOSTILE_VALUES)
def test_a_hostile_value_is_refused_by_name_or_is_within_its_bounds(name: str, value: str) -> None:
    outcome = read_or_refused([(name, value)])
    if isinstance(outcome, WrongOptions):
        assert [item.column for item in outcome.items] == [name]
        assert all(len(item.value or "") <= 100 for item in outcome.items)
    else:
        assert name not in NUMBERS or value == "٣"
        assert UploadOptions.model_validate_json(outcome.model_dump_json()) == outcome


def read_or_refused(pairs: list[tuple[str, str]]) -> UploadOptions | WrongOptions:
    try:
        return read_options(pairs)
    except WrongOptions as refusal:
        return refusal


def test_each_bound_holds() -> None:
    pairs = [
        ("phone_column", "99999"),
        ("phone_column", "ok"),
        ("phone_column", "a\0b"),
        ("area_column", "16384"),
        ("max_age_seconds", "100000000000"),
        ("max_calls", "2147483648"),
        ("sample_rows", "0"),
        ("sheet", "s" * 201),
        ("encoding", "e" * 201),
        ("delimiter", "\0"),
    ]
    with pytest.raises(WrongOptions) as refusal:
        read_options(pairs)
    reported = [(item.column, item.value) for item in refusal.value.items]
    assert reported == [(name, value[:100]) for name, value in pairs if value != "ok"]


def test_only_so_many_mistakes_are_told_and_each_is_short() -> None:
    with pytest.raises(WrongOptions) as refusal:
        read_options([("n" * 10_000, "v" * 10_000)] * 1_000)
    assert len(refusal.value.items) == 20
    assert len(str(refusal.value)) < 10_000


@given(st.lists(st.tuples(st.sampled_from(OPTION_NAMES) | st.text(max_size=5), st.text(max_size=30)), max_size=8))
def test_any_pairs_are_options_or_refused(pairs: list[tuple[str, str]]) -> None:
    outcome = read_or_refused(pairs)
    if isinstance(outcome, WrongOptions):
        assert outcome.items
    else:
        assert UploadOptions.model_validate_json(outcome.model_dump_json()) == outcome
