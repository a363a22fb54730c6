"""Decides which parts of an address or a host our pages repeat, as a stranger may have written them; pure."""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final, get_args
from urllib.parse import parse_qsl, urlencode

from schemas.lookups import LineType, Verdict
from schemas.rows import RowState
from services.assembler.status.pages.wording.uploads import SHOWS

_UPLOAD_ID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[57][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
"""Ids as `schemas.ids` makes them. Other systems may choose other ids, but those could be phones."""


def _some_of(words: Iterable[str]) -> re.Pattern[str]:
    one = f"(?:{'|'.join(words)})"
    return re.compile(rf"{one}(?:,{one}){{0,9}}")


_Parameters = Mapping[str, re.Pattern[str]]
_PAGES: Final[tuple[tuple[re.Pattern[str], _Parameters], ...]] = (
    (re.compile("/"), {"show": re.compile("|".join(SHOWS))}),
    (re.compile("/admin|/docs"), {}),
    (re.compile(rf"/uploads/{_UPLOAD_ID}/check"), {"open": re.compile("1?")}),
    (
        re.compile(rf"/uploads/{_UPLOAD_ID}"),
        {
            "state": _some_of(get_args(RowState)),
            "verdict": _some_of(get_args(Verdict)),
            "line_type": _some_of(get_args(LineType)),
            "limit": re.compile("[1-9][0-9]{0,2}|1000"),
        },
    ),
)
"""Our pages, with the parameters whose values cannot be a phone.

Cursors are left out: they hold numbers, and a person who has just signed in can start at the first page again.
"""


def own_page(address: str) -> str:
    """The page of ours that the address names, with the known parameters only; for other addresses the start page.

    The result consists of our own words, an upload's id and a limit. So it leads to no other origin, and repeats no
    phone that the address may hold.
    """
    path, _, query = address.partition("#")[0].partition("?")
    for page, known in _PAGES:
        if page.fullmatch(path):
            asked = dict(parse_qsl(query, keep_blank_values=True))
            kept = {name: asked[name] for name, values in known.items() if values.fullmatch(asked.get(name, "-"))}
            return f"{path}?{urlencode(kept, safe=',')}" if kept else path
    return "/"


_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,253})(?::[0-9]{1,5})?")
_FEWEST_DIGITS: Final = 7
"""Digits of the shortest local phone number."""


def own_origin(scheme: str, host: str) -> str:
    """Our origin for examples, as the client wrote it; with a placeholder when the host may hold a phone."""
    found = _HOST.fullmatch(host)
    if found is None or (len(re.findall("[0-9]", found[1])) >= _FEWEST_DIGITS and not _is_ip_address(found[1])):
        return f"{scheme}://HOST"
    return f"{scheme}://{host}"


def _is_ip_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
