"""Reads a file's name from Content-Disposition and makes it safe to display and to store."""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

NAMELESS = "upload"
_LONGEST_CHARACTERS = 200
LONGEST_DISPOSITION_CHARACTERS = 4_096
"""A name of 200 characters takes at most 2,400 bytes in RFC 8187's escapes."""
_CHARSETS = frozenset(("utf-8", "iso-8859-1"))
"""RFC 8187 names the first, and its predecessor also the second. Python has other codecs that are no encodings."""
_PARAMETER = re.compile(
    r';\s*(?P<name>[\w!#$&+.^`|~*-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^;]*?))\s*(?=;|$)'
)
_ESCAPED = re.compile(r'\\(["\\])')


def name_in_disposition(header: str | None) -> str:
    """The file's name in a Content-Disposition header (RFC 6266; `filename*` of RFC 8187 wins), made safe.

    `header` is the raw header as HTTP servers pass it: bytes decoded as Latin-1.
    """
    if not header or len(header) > LONGEST_DISPOSITION_CHARACTERS:
        return NAMELESS
    parameters = _parameters(header)
    extended = parameters.get("filename*")
    name = _extended_value(extended) if extended is not None else None
    if name is None:
        name = _as_utf8(parameters.get("filename", ""))
    return safe_name(name)


def name_in_part(filename: bytes) -> str:
    """The file's name of a multipart part: browsers send UTF-8 and escape only quotes and line ends (`%22`)."""
    text = _decode(filename)
    for escaped, plain in (("%22", '"'), ("%0D", ""), ("%0A", "")):
        text = text.replace(escaped, plain)
    return safe_name(text)


def safe_name(name: str) -> str:
    """The last part of a path, without control and direction-changing characters, at most 200 characters."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    kept = "".join(c for c in last if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"})
    kept = " ".join(kept.split())
    if len(kept) > _LONGEST_CHARACTERS:
        stem, dot, ending = kept.rpartition(".")
        ending = dot + ending if stem and len(ending) <= 10 else ""
        kept = kept[: _LONGEST_CHARACTERS - len(ending)] + ending
    return kept if kept.strip(". ") else NAMELESS


def _parameters(header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(header):
        quoted, plain = match["quoted"], match["plain"]
        found.setdefault(match["name"].lower(), plain if quoted is None else _ESCAPED.sub(r"\1", quoted))
    return found


def _extended_value(value: str) -> str | None:
    charset, _, rest = value.partition("'")
    _language, quote, encoded = rest.partition("'")
    if not quote:
        return None
    charset = charset.strip().lower() or "utf-8"
    if charset not in _CHARSETS:
        return None
    try:
        return unquote_to_bytes(encoded).decode(charset)
    except UnicodeDecodeError:
        return None


def _as_utf8(text: str) -> str:
    try:
        return _decode(text.encode("latin-1"))
    except UnicodeEncodeError:
        return text


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
