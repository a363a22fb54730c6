"""Decides how likely bytes beyond ASCII were meant in an encoding: letters within words yes, symbols there no."""

import unicodedata
from collections.abc import Callable
from typing import Final

MOST_FAILED_SHARE: Final = 0.02

_COMMON_LETTERS: Final = frozenset("áéíóúàèìòùâêîôûäëïöüñçãõßåæøÁÉÍÓÚÀÈÌÒÙÂÊÎÔÛÄËÏÖÜÑÇÃÕÅÆØ")
_COMMON_CYRILLIC: Final = frozenset("оеаинтсрвлкмдпуОЕАИНТСРВЛКМДПУ")
_OPENING: Final = frozenset("“‘«„¿¡‚‹")
_CLOSING: Final = frozenset("”’»›…")
_AFTER_A_CHARACTER: Final = frozenset("°ºª®™²³½¼©%€")
_BETWEEN: Final = frozenset("–—•·\xa0§£€©®†")


def likelihood(lines: bytes, encoding: str) -> float:
    """From -2 (impossible) to 1 (every character fits), as the mean over the characters beyond ASCII."""
    weigh = _WEIGHERS.get(encoding)
    if weigh is not None:
        return _multi_byte_likelihood(lines, encoding, weigh)
    try:
        text = lines.decode(encoding, "replace")
    except LookupError:
        return -2.0
    points = [_single(text, at) for at, character in enumerate(text) if character > "\x7f"]
    return sum(points) / len(points) if points else 0.0


def _single(text: str, at: int) -> float:
    """How well a character of a single-byte encoding sits between its neighbours."""
    character, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if character == "\ufffd" or "\x80" <= character <= "\x9f":
        return -1.0
    if character.isalpha() and character not in "ªº":
        return _letter(character, before, after)
    inside_word = before.isalpha() and after.isalpha()
    if character in "’‘´`" and inside_word:
        return 1.0
    if inside_word:
        return -1.0
    if character in _OPENING:
        return 0.7 if not before.isalnum() and after.isprintable() and after != " " else -0.3
    if character in _CLOSING or character in _AFTER_A_CHARACTER:
        return 0.8 if before.isalnum() or before in ".,!?)" else -0.1
    return 0.6 if character in _BETWEEN else -0.4


def _letter(character: str, before: str, after: str) -> float:
    neighbours = [other for other in (before, after) if other.isalpha()]
    if not neighbours:
        return -0.2
    if any(_script(other) != _script(character) for other in neighbours):
        return -0.6
    if character.isupper() and before.islower():
        return -0.8
    if character.islower() and before.isupper() and after.isupper():
        return -0.8
    return _commonness(character, neighbours)


def _commonness(character: str, neighbours: list[str]) -> float:
    """Latin letters beyond ASCII stand among ASCII ones; those of other scripts among their own."""
    script = _script(character)
    if script == "CYRILLIC":
        return 1.0 if character in _COMMON_CYRILLIC else 0.6
    if script != "LATIN":
        return 0.9
    if not any(other.isascii() for other in neighbours):
        return 0.0
    return 1.0 if character in _COMMON_LETTERS else 0.75


def _script(character: str) -> str:
    return "LATIN" if character.isascii() else unicodedata.name(character, "UNKNOWN").split(" ")[0]


def _multi_byte_likelihood(lines: bytes, encoding: str, weigh: Callable[[str, bytes], float]) -> float:
    text = lines.decode(encoding, "replace")
    odd = [character for character in text if character > "\x7f"]
    if not odd or text.count("\ufffd") > MOST_FAILED_SHARE * len(odd):
        return -2.0
    return sum(weigh(character, character.encode(encoding, "replace")) for character in odd) / len(odd)


def _japanese(character: str) -> float | None:
    if "\u3041" <= character <= "\u30ff" or character in "、。「」（）：，．　～－・々〇０１２３４５６７８９":
        return 1.0
    return 0.1 if "\uff61" <= character <= "\uff9f" else None


def _shift_jis(character: str, code: bytes) -> float:
    known = _japanese(character)
    if known is not None:
        return known
    return 0.9 if len(code) == 2 and b"\x88\x9f" <= code <= b"\x98\x72" else 0.0


def _euc_japanese(character: str, code: bytes) -> float:
    known = _japanese(character)
    if known is not None:
        return known
    return 0.75 if len(code) == 2 and 0xB0 <= code[0] <= 0xCF else 0.0


def _korean(character: str, code: bytes) -> float:
    if "가" <= character <= "힣":
        return 1.0 if 0xB0 <= code[0] <= 0xC8 and code[1] >= 0xA1 else 0.1
    return 0.5 if 0xA1 <= code[0] <= 0xA3 else -0.2


def _chinese_mainland(character: str, code: bytes) -> float:
    if "\u3041" <= character <= "\u30ff":
        return -0.5
    if len(code) == 2 and code[1] >= 0xA1:
        return 0.9 if 0xB0 <= code[0] <= 0xD7 else 0.6 if 0xA1 <= code[0] <= 0xA3 else 0.2
    return -0.3


def _chinese_taiwan(_character: str, code: bytes) -> float:
    if len(code) != 2:
        return -0.5
    return 0.85 if 0xA4 <= code[0] <= 0xC6 else 0.5 if 0xA1 <= code[0] <= 0xA3 else 0.2


_WEIGHERS: Final[dict[str, Callable[[str, bytes], float]]] = {
    "cp932": _shift_jis,
    "euc_jp": _euc_japanese,
    "cp949": _korean,
    "gbk": _chinese_mainland,
    "big5": _chinese_taiwan,
}
