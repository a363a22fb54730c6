"""Options as people give them: read, or refused by name."""

import pytest

from schemas.uploads import UploadOptions
from services.ingest.choices import WrongOptions, read_options


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
