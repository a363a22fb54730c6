"""Decides the meaning of a column's header: a phone, a lesser kind of phone, an area code, or something else."""

import re
import unicodedata
from typing import Final, Literal

Hint = Literal["phone", "lesser_phone", "area_code", "result", "other", "none"]
"""lesser_phone: fax, teletype. area_code: belongs before a phone. result: added by an earlier run of this service.

other: surely no phone. none: says nothing."""
RESULT_PREFIX: Final = "scrub_"

_AREA: Final = re.compile(
    r"\barea ?code\b|\barea\b.*\bcode\b|vorwahl|\bdial(?:l?ing)? ?code\b|\bcountry ?code\b|\bstd ?code\b|\bprefix|"
    r"\bprefijo|"
    r"\bindicatif|\bddd\b|\bddi\b|\blada\b|\bcaracteristica\b|\bprefisso|\bkierunkowy|市外局番|区号|區號|지역번호|\bnetnummer"
)
_LESSER: Final = re.compile(
    r"fax|\btty\b|\btdd\b|telecopi|ファックス|ファクス|ﾌｧｯｸｽ|팩스|传真|傳真|факс|\bpager\b|\bbeeper\b"
)
_PHONE: Final = re.compile(
    r"phone|\btele?s?\b|\btel[ ._]?n|\btelf|\btfn|\btlf|tele(?!x|gram|vis|work|arbeit)|telefon|telefoon|\btelef|"
    r"telephon|\bfono|\bfon\b|rufnummer|\bmobil|\bmobiel|\bcell?(?: ?phone| ?no| ?number| ?num|s)?\b|\bcelular|\bcel\b|"
    r"\bmovil|\bhandy|\bgsm\b|\bmsisdn\b|\bwhats ?app|\bhot ?line|\bhelp ?line|\bland ?line|\bcontact ?(?:no|num)|"
    r"\bcall(?:er|ing)?(?: ?id)?(?: ?no| ?num)|\bph(?: ?no| ?num)?\b|\bpuhelin|\bpuh\b|\bdien thoai|"
    r"\bnomor (?:hp|tel)|\bno hp\b|\bportable\b|"
    r"電話|携帯|でんわ|전화|휴대폰|휴대전화|핸드폰|연락처|电话|手机|телефон|\bтел\b|\bмоб|τηλ|κινητ|هاتف|جوال|טלפון|โทร|फ़ोन|फोन"
)
_OTHER: Final = re.compile(
    r"\be? ?mails?\b|\bemail|\bdates?\b|\bdatum|\bfecha|\bzip|\bpostal|\bpost ?code|\bplz\b|\bcep\b|\blat\b|\blatitude|"
    r"\blon(?:g|gitude)?\b|\blng\b|\burl\b|\bweb|\btypes?\b|\bstatus\b|\bids?\b|\bcnpj\b|\bcpf\b|\bssn\b|\bein\b|\bnpi\b|"
    r"\bvat\b|\bisbn\b|\bext(?:ension)?\b|extension|\bdurchwahl|\bprice|\bamount|\btotal|\bcount\b|\byear\b|"
    r"\btime(?:stamp)?\b|\bcreated\b|\bupdated\b|\bbirth|\bdob\b|schluessel|schlussel|rechtswert|hochwert|"
    r"\bcod(?:igo|e)?\b|\bcomments?\b|\bnotes?\b|\bname\b|\bnombre\b|\baddress|\bstreet|\bcountry\b|\bverified\b|"
    r"\bconsent|\bmodel\b|\bcarrier\b|\bprovider\b|番号付|法人番号|許可番号|郵便番号|年月日"
)


def hint_of(header: str) -> Hint:
    """The meaning of a header text in any of some twenty languages; case, accents and underscores do not matter."""
    if header.strip().casefold().startswith(RESULT_PREFIX):
        return "result"
    text = plain_words(header)
    if _AREA.search(text):
        return "area_code"
    phone, lesser = _PHONE.search(text), _LESSER.search(text)
    if lesser and not (phone and phone.start() < lesser.start() and _separate(text, phone.end(), lesser.start())):
        return "lesser_phone"
    other = _OTHER.search(text)
    if phone and not (other and other.end() > phone.end()):
        return "phone"
    return "other" if other else "none"


def plain_words(header: str) -> str:
    """Lower case without accents; camelCase, underscores and the like become blanks."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", header)
    decomposed = unicodedata.normalize("NFKD", split)
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    recomposed = unicodedata.normalize("NFKC", bare)
    return re.sub(r"[\W_]+", " ", recomposed).casefold().strip()


def _separate(text: str, end: int, start: int) -> bool:
    """`phone fax` names both, `telefax` only one."""
    return " " in text[end:start]
