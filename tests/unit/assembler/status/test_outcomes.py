"""What the page says after a button: sentences of ours, whoever wrote the address."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.assembler.status.pages.wording.outcomes import MOST, done_code, done_sentence


@pytest.mark.parametrize(
    ("command", "counts", "sentence"),
    [
        ("pause", (1, 0), "Paused 1 upload."),
        ("resume", (0, 2), "Resumed 0 uploads. 2 uploads not changed: only paused uploads can be resumed."),
        ("cancel", (3, 1), "Stopped 3 uploads. 1 upload not changed: finished uploads cannot be stopped."),
        ("retry-failed", (2, 0), "Retrying failed rows in 2 uploads."),
        ("delete", (2, 0), "Deleted 2 uploads."),
        ("sweep", (1200, 3), "Sweep finished: 1,200 rows checked, 3 rows republished."),
        ("redrive", (1, 1, 0), "Retrying 1 row with 1 call."),
        ("dismiss", (4,), "Removed 4 rows from the list. Their uploads still count them as failed."),
        ("count", (1,), "1 upload would be deleted."),
        ("clear", (5_000_000,), "999,999 or more uploads will be deleted."),
    ],
)
def test_what_was_done_is_said(command: str, counts: tuple[int, ...], sentence: str) -> None:
    assert done_sentence(done_code(command, *counts)) == sentence


def test_uploads_that_were_left_alone_are_said() -> None:
    assert "1 upload skipped" in done_sentence(done_code("redrive", 5, 4, 1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Your account is blocked, call (415) 555-0142",
        "delete",
        "delete.1",
        "delete.1.0.0",
        "delete.4155550142.0",
        "delete.1.0\n",
        "delete.-1.0",
        "delete.\u0661.0",
        "unheard-of.1.0",
    ],
)
def test_any_other_text_says_nothing(text: str) -> None:
    assert done_sentence(text) == ""


@given(text=st.text() | st.from_regex(r"[a-z-]{4,8}(\.[0-9]{1,9}){0,4}"), count=st.integers(min_value=0))
def test_no_number_is_as_long_as_a_phone(text: str, count: int) -> None:
    assert not re.search(r"\d{7}", done_sentence(text))
    assert not re.search(r"\d{7}", done_code("sweep", count, count))
    assert done_sentence(done_code("sweep", min(count, MOST), count)) != ""
