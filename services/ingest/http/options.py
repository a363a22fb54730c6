"""Reads a person's options from query parameters or form fields, and names each wrong one."""

from collections.abc import Iterable, Iterator, Mapping

from pydantic import ValidationError

from schemas.interface import ErrorItem
from schemas.uploads import UploadOptions

_NAMES: Mapping[str, str] = {"phone_column": "phone_columns"} | {
    name: name for name in UploadOptions.model_fields if name != "phone_columns"
}
OPTION_NAMES = tuple(_NAMES)
_DELIMITER_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_PARAMETERS = {field: name for name, field in _NAMES.items()}
_LISTS = frozenset(("phone_columns",))
_LONGEST_INDEX_DIGITS = 5
_LONGEST_VALUE = 500
_LONGEST_SHOWN = 100
_MOST_ITEMS = 20


class WrongOptions(Exception):
    """Some options are unknown or have invalid values. Each item names its field in `column`."""

    def __init__(self, items: tuple[ErrorItem, ...]) -> None:
        super().__init__("; ".join(item.detail or item.code for item in items[:_MOST_ITEMS]))
        self.items = items[:_MOST_ITEMS]


def read_options(pairs: Iterable[tuple[str, str]]) -> UploadOptions:
    """The options in name and value pairs. Blank values are ignored, because forms send every field.

    Raises:
        WrongOptions: an unknown name, a repeated name (other than `phone_column`), or an invalid value.
    """
    values: dict[str, object] = {}
    columns: list[str | int] = []
    wrong: list[ErrorItem] = []
    for name, text in pairs:
        if name not in _NAMES:
            wrong.append(_item(name, text, "unknown_option", f"is not an option; there are {', '.join(OPTION_NAMES)}"))
        elif len(text) > _LONGEST_VALUE:
            wrong.append(_item(name, text, "wrong_value", f"is longer than {_LONGEST_VALUE} characters"))
        elif not text.strip() and name != "delimiter":
            continue
        elif name == "phone_column":
            columns.append(_column(text))
        elif name in values:
            wrong.append(_item(name, text, "repeated_option", "is given twice"))
        elif text:
            values[name] = _read_value(name, text)
    if columns:
        values["phone_columns"] = tuple(columns)
    return _validated(values, wrong)


def _validated(values: dict[str, object], wrong: list[ErrorItem]) -> UploadOptions:
    try:
        options = UploadOptions.model_validate(values)
    except ValidationError as error:
        raise WrongOptions((*wrong, *_items_of(error, values))) from None
    if wrong:
        raise WrongOptions(tuple(wrong))
    return options


def _items_of(error: ValidationError, values: Mapping[str, object]) -> Iterator[ErrorItem]:
    """One item for each invalid value. A value that may have several types has one error for each type."""
    reported = set()
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        field, *places = one["loc"]
        place = (field, *places[:1]) if field in _LISTS else (field,)
        if place not in reported:
            reported.add(place)
            value = values[str(field)]
            if isinstance(value, tuple) and len(place) > 1 and isinstance(place[1], int):
                value = value[place[1]]
            yield _item(_PARAMETERS[str(field)], str(value), "wrong_value", f"cannot be this: {one['msg']}")


def _read_value(name: str, text: str) -> object:
    if name == "delimiter":
        return _DELIMITER_WORDS.get(text.strip().lower(), text)
    if name == "area_column":
        return _column(text)
    text = text.strip()
    return text.upper() if name == "region" else text


def _column(text: str) -> str | int:
    """A column is named by its header, or by its 0-based index."""
    stripped = text.strip()
    is_index = stripped.isascii() and stripped.isdigit() and len(stripped) <= _LONGEST_INDEX_DIGITS
    return int(stripped) if is_index else text


def _item(name: str, value: str, code: str, what: str) -> ErrorItem:
    """An item that repeats only so much of a request as people need to find the error."""
    shown = name[:_LONGEST_SHOWN]
    return ErrorItem(code=code, column=shown, value=value[:_LONGEST_SHOWN], detail=f"`{shown}` {what}")
