"""The glossary and the code hold together: each term has an owner, and the owner speaks of the term."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
ROW = re.compile(r"^\| (?P<term>[^|]+?) \| (?P<meaning>(?:[^|\\]|\\.)+?) \| `(?P<owner>[^`]+)` \|$", re.MULTILINE)
KEPT = ("fence", "lease", "lane", "round", "sweep", "spool", "permit", "outbox", "fold", "gate")
"""Words that this code uses as queueing texts and Kafka's documentation do."""


def terms() -> dict[str, tuple[str, str]]:
    """Term → meaning and owner."""
    return {row["term"]: (row["meaning"], row["owner"]) for row in ROW.finditer(GLOSSARY.read_text(encoding="utf-8"))}


def letters(text: str) -> str:
    """Only the letters: `pending_tombstones`, `PendingTombstones` and `pending tombstones` are one word."""
    return re.sub(r"[^a-z]", "", text.lower())


def has_owner(term: str, owner: str) -> bool:
    path = ROOT / owner
    return path.is_file() and letters(term) in letters(path.stem + path.read_text(encoding="utf-8"))


def test_every_line_of_a_table_is_understood() -> None:
    lines = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    headers = [line for line in lines if line.startswith("| term |")]
    assert len(lines) == len(terms()) + len(headers)


def test_each_term_has_an_owner_that_speaks_of_it() -> None:
    without = {term for term, (_, owner) in terms().items() if not has_owner(term, owner)}
    assert not without


def test_words_that_are_kept_are_explained() -> None:
    assert {word.capitalize() for word in KEPT} <= terms().keys()


def test_a_meaning_is_a_phrase_and_terms_are_in_their_own_words() -> None:
    for term, (meaning, _) in terms().items():
        assert not meaning.endswith("."), term
        assert letters(meaning) != letters(term)
