"""Messages keep their shape: golden examples decode and encode as ever, and the exported schemas are current."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import BaseModel

from schemas.codec import decode, decode_one_of, encode
from schemas.export import JSON_FOLDER, SETTINGS_DOC, exported_models, file_stem, json_schemas, settings_doc
from schemas.topics import UPLOAD_EVENTS
from schemas.upload_events import UPLOAD_EVENT

GOLDEN = sorted((Path(__file__).parents[2] / "schemas" / "golden").glob("*.json"))
MODELS = exported_models()
EVENTS = [file_stem(model) for model in UPLOAD_EVENTS.messages]
EACH = pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name.removesuffix(".json"))
TERSE = "minimal"
"""The variant of an older or terser writer: optional fields are missing and get their defaults."""


def of_golden(path: Path) -> tuple[type[BaseModel], str]:
    """The model and the variant of `<model>.<variant>.json`."""
    model, variant, _ = path.name.split(".")
    return MODELS[model], variant


def test_every_message_has_an_example_and_every_example_a_message() -> None:
    assert {path.name.split(".")[0] for path in GOLDEN} == set(MODELS)


@EACH
def test_an_example_comes_out_as_it_went_in(path: Path) -> None:
    model, variant = of_golden(path)
    message = decode(model, path.read_bytes())
    if variant != TERSE:
        assert_holds(json.loads(encode(message)), json.loads(path.read_text(encoding="utf-8")))
    assert decode(model, encode(message)) == message


def assert_holds(value: Any, expected: Any) -> None:
    """That the value has all of the example; fields that were added since may be there besides."""
    if isinstance(expected, dict):
        assert expected.keys() <= value.keys()
        for name, item in expected.items():
            assert_holds(value[name], item)
    elif isinstance(expected, list):
        assert len(value) == len(expected)
        for item, of_example in zip(value, expected, strict=True):
            assert_holds(item, of_example)
    else:
        assert value == expected
        assert type(value) is type(expected)


@EACH
def test_an_example_fits_the_exported_schema(path: Path) -> None:
    model, _ = of_golden(path)
    schema = json.loads((JSON_FOLDER / f"{file_stem(model)}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(json.loads(path.read_text(encoding="utf-8")))


@EACH
def test_fields_that_a_newer_writer_added_are_ignored(path: Path) -> None:
    model, _ = of_golden(path)
    with_more = added_everywhere(json.loads(path.read_text(encoding="utf-8")), top=True)
    assert decode(model, json.dumps(with_more).encode()) == decode(model, path.read_bytes())


def added_everywhere(value: Any, *, top: bool = False) -> Any:
    """The value with an unknown field in each object that holds lists or nulls, as messages do and counters don't."""
    if isinstance(value, list):
        return [added_everywhere(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {name: added_everywhere(item) for name, item in value.items()}
    is_message = top or any(item is None or isinstance(item, list) for item in value.values())
    return inner | {"added_later": {"by": "a newer writer"}} if is_message else inner


@pytest.mark.parametrize("name", EVENTS)
def test_an_upload_event_is_told_by_its_type(name: str) -> None:
    examples = [path for path in GOLDEN if path.name.split(".")[0] == name]
    for path in examples:
        assert type(decode_one_of(UPLOAD_EVENT, path.read_bytes(), what="upload event")) is MODELS[name]


@pytest.mark.parametrize("path", [path for path in GOLDEN if TERSE in path.name], ids=lambda path: path.name)
def test_what_a_terse_writer_leaves_out_is_optional_for_the_right_reason(path: Path) -> None:
    model, _ = of_golden(path)
    given = json.loads(path.read_text(encoding="utf-8"))
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    assert required <= given.keys()


@EACH
def test_unknown_is_null_and_never_left_out(path: Path) -> None:
    model, _ = of_golden(path)
    names = {field.serialization_alias or name for name, field in model.model_fields.items()}
    assert json.loads(encode(decode(model, path.read_bytes()))).keys() == names


def test_the_exported_schemas_are_current() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in JSON_FOLDER.glob("*")}
    assert written == json_schemas(), "run: python -m schemas.export"


def test_the_page_of_settings_is_current() -> None:
    assert SETTINGS_DOC.read_text(encoding="utf-8") == settings_doc(), "run: python -m schemas.export --settings-doc"
