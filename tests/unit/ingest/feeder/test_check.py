"""What a person chose reaches the reader of the file, and what the reader found comes back: with every field."""

from dataclasses import fields

from schemas.settings import Settings
from schemas.uploads import Detected, UploadOptions
from services.ingest.feeder.check import read_options_of
from services.ingest.reading import Dialect, FileLayout, ReadOptions

CHOSEN = UploadOptions(
    phone_columns=("Phone", 3), area_column=2, region="GB", priority=1, max_age_seconds=60, start=False, max_calls=5,
    sample_rows=6, sheet="Sheet 2", header=False, encoding="cp1252", delimiter=";",
)  # fmt: skip
NOT_FOR_THE_READER = {"priority", "max_age_seconds", "start", "max_calls", "sample_rows"}
FOUND = FileLayout(
    format="jsonl", encoding="cp1252", delimiter=";", sheet="Sheet 2", sheets=("Sheet 1", "Sheet 2"), header=False,
    skipped_lines=2, columns=("Name", "Phone"), phone_columns=(1, 2), other_phone_columns=(3,), area_column=0,
    area_column_candidates=(0, 4), region="GB", container="zip", dialect=Dialect(";", "'", "\\", True), keyed=True,
)  # fmt: skip


def test_every_option_of_reading_is_carried_over() -> None:
    carried = {field.name for field in fields(ReadOptions)}
    assert carried == UploadOptions.model_fields.keys() - NOT_FOR_THE_READER
    options = read_options_of(CHOSEN, Settings())
    assert {name: getattr(options, name) for name in carried} == {name: getattr(CHOSEN, name) for name in carried}


def test_the_service_chooses_the_region_when_nobody_did() -> None:
    assert read_options_of(UploadOptions(), Settings(region="DE")) == ReadOptions(region="DE")


def test_every_field_of_the_layout_comes_back_from_the_message() -> None:
    blank = ReadOptions()
    assert all(getattr(CHOSEN, field.name) != getattr(blank, field.name) for field in fields(ReadOptions))
    message = Detected.model_validate_json(Detected.model_validate(FOUND.to_dict() | {"width": 7}).model_dump_json())
    assert FileLayout.from_dict(message.model_dump()) == FOUND
    assert message.width == 7


def test_every_field_of_the_message_is_filled_by_the_layout() -> None:
    assert FOUND.to_dict().keys() - {"profiles"} == Detected.model_fields.keys() - {"width"}
