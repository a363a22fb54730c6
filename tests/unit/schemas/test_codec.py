"""What is said of a record that cannot be decoded: where and what kind, never what it held."""

import pytest
from pydantic import BaseModel

from schemas.codec import UndecodableRecord, decode, decode_one_of
from schemas.lookups import LookupResult
from schemas.rows import UploadRow
from schemas.upload_events import UPLOAD_EVENT, UploadChecked
from schemas.uploads import UploadProgress

PHONE = "+14155550142"
BARE = PHONE[1:]


@pytest.mark.parametrize("model", [UploadRow, LookupResult, UploadChecked, UploadProgress])
@pytest.mark.parametrize(
    "value",
    [
        PHONE,
        f'"{PHONE}"',
        f'{{"phone":"{PHONE}x"}}',
        f'{{"phone":"{PHONE}","{PHONE}":1,"cells":"{PHONE}"}}',
        f'{{"preview":{{"problems":{{"{PHONE}":"{PHONE}"}}}},"detected":"{PHONE}"}}',
        f'{{"at":"{BARE}","outcome":"{PHONE}","counts":{{"rows":"{PHONE}"}}}}',
    ],
)
def test_the_text_holds_nothing_of_the_record(model: type[BaseModel], value: str) -> None:
    with pytest.raises(UndecodableRecord) as wrong:
        decode(model, value.encode())
    assert BARE not in str(wrong.value)
    assert model.__name__ in str(wrong.value)


@pytest.mark.parametrize(
    "value", [f'{{"type":"{PHONE}"}}', f'{{"type":"upload_checked","preview":{{"problems":{{"{PHONE}":"x"}}}}}}']
)
def test_neither_a_wrong_kind_nor_a_wrong_key_is_quoted(value: str) -> None:
    with pytest.raises(UndecodableRecord) as wrong:
        decode_one_of(UPLOAD_EVENT, value.encode(), what="upload event")
    assert BARE not in str(wrong.value)
    assert "upload event" in str(wrong.value)


def test_the_text_says_where_and_what() -> None:
    with pytest.raises(UndecodableRecord, match="not a UploadRow: upload_id: missing"):
        decode(UploadRow, b"{}")
