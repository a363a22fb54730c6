"""Decides in which encoding a text was written, by the bytes beyond ASCII in the whole file."""

import codecs
from typing import Final, Literal

from services.ingest.reading.likelihood import likelihood
from services.ingest.reading.refusals import FileRefused
from services.ingest.reading.survey import Survey

MOST_UTF8_ERRORS_SHARE: Final = 0.01
"""A stray byte in a hundred UTF-8 characters is damage; more is another encoding with some UTF-8 pasted in."""

DOUBTFUL: Final = 0.35
"""Below this likelihood none of the usual encodings explains the bytes, and charset-normalizer is asked."""

_USUAL: Final = (
    "cp1252", "mac_roman", "cp932", "cp949", "gbk", "big5", "euc_jp", "cp1250", "cp1251", "koi8_r", "cp866",
    "mac_cyrillic", "cp1253", "cp1254", "cp850",
)  # fmt: skip
_HOME: Final = {
    "cp932": {"JP"}, "euc_jp": {"JP"}, "cp949": {"KR"}, "gbk": {"CN", "SG"}, "big5": {"TW", "HK", "MO"},
    "cp1250": {"PL", "CZ", "SK", "HU", "SI", "HR", "RO", "BA", "RS", "AL"},
    "cp1251": {"RU", "UA", "BY", "BG", "RS", "KZ", "MK"},
    "cp1253": {"GR", "CY"}, "cp1254": {"TR", "AZ"}, "cp1255": {"IL"}, "cp1257": {"LT", "LV", "EE"},
}  # fmt: skip
_CANONICAL: Final = {
    "shift_jis": "cp932", "shift_jis_2004": "cp932", "euc_kr": "cp949", "johab": "cp949", "gb2312": "gbk",
    "latin_1": "cp1252", "iso8859_1": "cp1252", "iso8859_15": "cp1252", "euc_jis_2004": "euc_jp", "ascii": "utf-8",
    "utf_8": "utf-8", "utf_8_sig": "utf-8-sig", "utf_16": "utf-16", "utf_32": "utf-32",
    "utf_16_le": "utf-16-le", "utf_16_be": "utf-16-be",
}  # fmt: skip
_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip
_NOT_OF_FILES: Final = frozenset(("idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined"))
"""Python has them as text encodings, but no file is written in them."""
_FIRST_BONUS: Final = 0.1
_HOME_BONUS: Final = 0.15


def encoding_of(survey: Survey, region: str, wanted: str | None) -> str:
    """Python's name of the encoding: by a mark, by NULs, UTF-8 if it is, else the likeliest for such bytes."""
    if wanted is not None:
        return _known(wanted)
    for mark, encoding in _MARKS:
        if survey.head.startswith(mark):
            return encoding
    if utf16 := looks_utf16(survey.head):
        return utf16
    if b"\x1b$B" in survey.head or b"\x1b$@" in survey.head:
        return "iso2022_jp"
    if survey.utf8_errors <= MOST_UTF8_ERRORS_SHARE * survey.utf8_characters:
        return "utf-8"
    return _likeliest(survey.odd_lines, region)


def _known(wanted: str) -> str:
    try:
        name = codecs.lookup(wanted).name.replace("-", "_")
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise _unknown(wanted) from error
    if name in _NOT_OF_FILES:
        raise _unknown(wanted)
    return _CANONICAL.get(name, name)


def _unknown(wanted: str) -> FileRefused:
    return FileRefused("unknown-encoding", f"{wanted!r} is not an encoding. Choose for example utf-8 or cp1252.")


def _likeliest(odd_lines: bytes, region: str) -> str:
    likelihoods = {name: likelihood(odd_lines, name) + _bonus(name, region) for name in _USUAL}
    best = max(likelihoods, key=lambda name: likelihoods[name])
    if likelihoods[best] >= DOUBTFUL:
        return best
    # Imported here because hardly any file needs it, and it is 3 MB in every process that reads.
    import charset_normalizer

    guess = charset_normalizer.from_bytes(odd_lines).best()
    if guess is None:
        return best
    return _CANONICAL.get(guess.encoding, guess.encoding)


def _bonus(encoding: str, region: str) -> float:
    """An encoding of the region's own script is likelier there; elsewhere cp1252 is by far the commonest."""
    homes = [name for name, regions in _HOME.items() if region in regions]
    if homes:
        return _HOME_BONUS if encoding in homes else 0.0
    return _FIRST_BONUS if encoding == "cp1252" else 0.0


def looks_utf16(head: bytes) -> Literal["utf-16-le", "utf-16-be"] | None:
    """UTF-16 without a mark: every other byte of ASCII characters is NUL, always on the same side."""
    pairs = len(head) // 2
    low, high = head[0 : pairs * 2 : 2].count(0), head[1 : pairs * 2 : 2].count(0)
    if pairs and high >= 0.3 * pairs and low <= 0.02 * high:
        return "utf-16-le"
    return "utf-16-be" if pairs and low >= 0.3 * pairs and high <= 0.02 * low else None
