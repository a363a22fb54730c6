"""Adapts the generic lookup API: `GET {url}?phone=...` returns one flat JSON object. Pure."""

from typing import Any
from urllib.parse import quote

import phonenumbers

from schemas.lookups import LineType, PhoneData, Tristate
from services.lookup.providers.protocol import (
    Found,
    HttpRequest,
    HttpResponse,
    NotValid,
    Provider,
    Reply,
    Wait,
    reply_to_status,
)
from services.lookup.providers.strict_json import NotStrictJson, parse_object

_LINE_TYPES: dict[str, LineType] = {
    "mobile": "mobile",
    "cell": "mobile",
    "cellular": "mobile",
    "wireless": "mobile",
    "landline": "landline",
    "fixed_line": "landline",
    "fixed": "landline",
    "voip": "voip",
    "fixed_voip": "voip",
    "fixedvoip": "voip",
    "nonfixed_voip": "voip",
    "nonfixedvoip": "voip",
    "non_fixed_voip": "voip",
    "toll_free": "toll_free",
    "tollfree": "toll_free",
    "premium": "premium",
    "premium_rate": "premium",
    "shared_cost": "shared_cost",
    "sharedcost": "shared_cost",
    "pager": "pager",
    "other": "other",
    "personal": "other",
    "uan": "other",
    "voicemail": "other",
}
_YES = frozenset({"yes", "true", "y", "1", "reachable", "active", "connected"})
_NO = frozenset({"no", "false", "n", "0", "unreachable", "inactive", "disconnected"})
_LONGEST_TEXT = 200


class GenericProvider:
    """The phone replaces `{phone}` in the URL. If the URL has no `{phone}`, the phone is added to the query."""

    def __init__(self, *, url: str, key: str | None) -> None:
        self._url = url
        self._headers = {"accept": "application/json", "accept-encoding": "identity"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"

    def build_request(self, phone: str) -> HttpRequest:
        # A bare + in a query decodes to a blank.
        escaped = quote(phone, safe="")
        if "{phone}" in self._url:
            url = self._url.replace("{phone}", escaped)
        else:
            url = f"{self._url}{'&' if '?' in self._url else '?'}phone={escaped}"
        return HttpRequest(method="GET", url=url, headers=self._headers)

    def read_response(self, phone: str, response: HttpResponse) -> Reply:
        refusal = reply_to_status(response)
        if refusal is not None:
            return refusal
        try:
            body = parse_object(response.body)
        except NotStrictJson as error:
            return Wait(error.code, f"the provider's answer {error}")
        if not is_about(phone, body.get("phone")):
            return Wait("wrong_phone", "the provider's answer is about another phone")
        if not isinstance(body.get("valid"), bool):
            return Wait("garbage", "the provider's answer has no true or false `valid`")
        if not body["valid"]:
            return NotValid()
        return Found(
            PhoneData(
                line_type=_line_type(body.get("line_type")),
                carrier=_text(body.get("carrier")),
                country=_country(body.get("country")),
                reachable=_tristate(body.get("reachable")),
                do_not_call=_tristate(body.get("do_not_call")),
            )
        )


def make(*, url: str, key: str | None) -> Provider:
    """The adapter, as `make_provider` asks for it."""
    return GenericProvider(url=url, key=key)


def is_about(phone: str, named: Any) -> bool:
    """Whether a reply with the phone `named` is about `phone` (E.164). A reply without a phone counts as such.

    A provider may repeat the phone in another notation, including the national one.
    """
    if named is None:
        return True
    if not isinstance(named, str) or len(named) > _LONGEST_TEXT:
        return False
    if named == phone:
        return True
    try:
        region = phonenumbers.region_code_for_country_code(phonenumbers.parse(phone).country_code or 0)
        parsed = phonenumbers.parse(named, region)
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == phone)


def _line_type(value: Any) -> LineType:
    if not isinstance(value, str) or not value.strip():
        return "unknown"
    word = value.strip().lower().replace("-", "_").replace(" ", "_")
    return _LINE_TYPES.get(word, "unknown" if word == "unknown" else "other")


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    # Control characters and lone surrogates cannot be stored everywhere.
    return "".join(sign for sign in value[:_LONGEST_TEXT] if sign.isprintable()).strip() or None


def _country(value: Any) -> str | None:
    text = _text(value)
    return text.upper() if text is not None and len(text) == 2 else text


def _tristate(value: Any) -> Tristate:
    word = str(value).strip().lower() if isinstance(value, str | bool | int) else ""
    if word in _YES:
        return "yes"
    return "no" if word in _NO else "unknown"
