"""What is published again, and what a completion event says, always fits into a record."""

from datetime import UTC, datetime

from schemas.codec import MAX_VALUE_BYTES, decode, encode
from schemas.interface import Upload
from schemas.rows import UploadRow
from schemas.settings import Settings
from schemas.uploads import Detected
from services.assembler.domain.completion_value import shortened, value_of
from services.assembler.domain.views import upload_view
from services.assembler.join.republishing import value_again
from tests.fixtures.ids import upload_id
from tests.unit.assembler.join.join_log import PHONES, START, Log, Reader
from tests.unit.assembler.join.test_joining import World

U = upload_id("upload-1")
ROW = UploadRow(upload_id=U, row=1, phone=PHONES[0], owner="jane", wanted_at=START, accept_since=START, again=True)


def test_a_row_that_is_as_large_as_a_row_may_be_goes_out_again_without_its_cells() -> None:
    small = ROW.model_copy(update={"cells": ("a",)})
    assert decode(UploadRow, value_again(small)) == small
    large = ROW.model_copy(update={"cells": ("a" * (MAX_VALUE_BYTES - 200),)})
    assert len(encode(large)) > MAX_VALUE_BYTES
    assert decode(UploadRow, value_again(large)) == ROW


def test_a_completion_event_fits_however_many_columns_the_file_has() -> None:
    world = World(Reader(Log()))
    world.open(U)
    world.reader.read_all()
    view = upload_view(world.reader.upload(U), settings=Settings())
    assert decode(Upload, value_of(view)) == view
    wide = view.model_copy(update={"detected": Detected(format="csv", columns=("x" * 999,) * 16_384)})
    value = value_of(wide)
    assert len(value) <= MAX_VALUE_BYTES
    assert decode(Upload, value, timestamp_ms=int(datetime.now(UTC).timestamp() * 1000)).id == U
    assert shortened(encode(wide)) == value
