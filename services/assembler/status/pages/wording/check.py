"""Decides what the check page says about a file: its format, what the check found, and the choices; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from schemas.interface import Upload
from schemas.uploads import Detected
from services.assembler.status.pages.wording.formatting import file_size, plural, uncapitalised
from services.assembler.status.pages.wording.rows import PROBLEMS

AGES_IN_DAYS: Final = (
    ("", "the default age"),
    ("0", "never: look up every phone again"),
    ("1", "1 day"),
    ("7", "1 week"),
    ("30", "30 days"),
    ("365", "1 year"),
)
DELIMITERS: Final[Mapping[str, str]] = {
    ",": "Comma ,",
    ";": "Semicolon ;",
    "tab": "Tab",
    "|": "Pipe |",
    ":": "Colon :",
    "^": "Caret ^",
    "~": "Tilde ~",
    " ": "Space",
}
NO_DELIMITER: Final = "none: one column"
ENCODINGS: Final = ("utf-8", "cp1252", "iso-8859-1", "mac_roman", "utf-16", "shift_jis", "cp949", "gbk", "cp1251")
_FORMATS: Final[Mapping[str, str]] = {
    "csv": "Text table",
    "xlsx": "Excel workbook",
    "jsonl": "JSON Lines",
    "kafka": "Rows from another system",
}
_SEPARATORS: Final[Mapping[str, str]] = {
    "\t": "tabs",
    ",": "commas",
    ";": "semicolons",
    "|": "pipes",
    ":": "colons",
    " ": "spaces",
}
_ADVICE: Final[Mapping[str, str]] = {
    "lost_digits": "A spreadsheet rounded these numbers and their digits are gone. Export the file again with the "
    "column formatted as text.",
    "no_phone": "These rows stay in the file and are marked. No call is made for them.",
    "not_a_phone": "These rows stay in the file and are marked. No call is made for them.",
}
_OTHER_ADVICE: Final = "These rows stay in the file and are marked."


@dataclass(frozen=True, slots=True)
class CheckProblem:
    """A finding of the check. `asks`: a person may want to decide something before the start.

    `area_columns`: columns, with their names, that may hold the area code and can be chosen by a button.
    """

    title: str
    detail: str
    asks: bool
    area_columns: tuple[tuple[int, str], ...] = ()


def check_problems(upload: Upload) -> list[CheckProblem]:
    """The findings of the check, the most consequential first."""
    if upload.detected is None or upload.plan is None:
        return []
    names = column_names(upload)
    problems = [*_about_columns(upload.detected, names), *_about_rows(upload)]
    if upload.plan.split:
        title = f"{plural(upload.plan.split, 'cell')} with text around the phone number"
        problems.append(CheckProblem(title, "The number was taken out of the text; extensions are ignored.", False))
    return problems


def _about_columns(detected: Detected, names: Mapping[int, str]) -> Iterator[CheckProblem]:
    if detected.other_phone_columns:
        listed = " and ".join(f"“{names[n]}”" for n in detected.other_phone_columns if n in names)
        verb = "look" if len(detected.other_phone_columns) > 1 else "looks"
        yield CheckProblem(
            f"{listed} also {verb} like phones", "These are not looked up unless you tick them below.", True
        )
    if detected.area_column is None and detected.area_column_candidates:
        yield CheckProblem(
            "The area code may be in a column of its own",
            "The numbers seem to lack their area code. Choose its column to complete them.",
            True,
            area_columns=tuple((n, names[n]) for n in detected.area_column_candidates if n in names),
        )


def _about_rows(upload: Upload) -> Iterator[CheckProblem]:
    rejected = {} if upload.preview is None else upload.preview.problems
    for code, count in sorted(rejected.items(), key=lambda item: -item[1]):
        title = f"{plural(count, 'row')}: {uncapitalised(PROBLEMS.get(code, code))}"
        yield CheckProblem(title, _ADVICE.get(code, _OTHER_ADVICE), code == "lost_digits")


def column_names(upload: Upload) -> dict[int, str]:
    """By index: the column's title, or its number from 1 if it has none."""
    profiles = () if upload.preview is None else upload.preview.columns
    return {one.index: one.header or f"Column {one.index + 1}" for one in profiles}


def detected_words(upload: Upload) -> str:
    """One line that describes the file, as far as it is known."""
    size = [file_size(upload.bytes)] if upload.bytes else []
    if upload.detected is None:
        return " · ".join(size)
    return " · ".join([format_words(upload.detected.format), *size, *_layout_words(upload.detected)])


def format_words(file_format: str) -> str:
    """The format's name; its code when there are no words for it."""
    return _FORMATS.get(file_format, file_format)


def _layout_words(detected: Detected) -> Iterator[str]:
    if detected.format == "csv":
        yield "one column" if detected.delimiter is None else f"separated by {_separator(detected.delimiter)}"
        yield f"encoded as {detected.encoding}"
    if detected.sheet:
        yield f"sheet “{detected.sheet}”"
    yield "with column names" if detected.header else "without column names"
    if detected.skipped_lines:
        yield f"{plural(detected.skipped_lines, 'line')} above the table skipped"
    if detected.region:
        yield f"numbers without a country code read as {detected.region}"


def _separator(delimiter: str) -> str:
    return _SEPARATORS.get(delimiter, delimiter)
