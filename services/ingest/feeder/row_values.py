"""Decides the bytes of a row's record on `upload-rows` and `rejected-rows`: what all rows share is encoded once."""

import orjson

from schemas.rows import RowError
from services.ingest.feeder.preparation.row_file import PreparedRow
from services.ingest.feeder.upload_state import FeederUpload


def usable_value(row: PreparedRow, head: bytes) -> bytes:
    """The value of a row on `upload-rows`. `head` comes from `row_head`."""
    return b'%b"phone":"%b",%b' % (head, row.phone, row.body)


def rejected_value(row: PreparedRow, head: bytes) -> bytes:
    """The value of a row on `rejected-rows`. `head` comes from `rejected_head` or `left_out_head`."""
    return head + row.body


def row_head(upload: FeederUpload, *, default_max_age_seconds: int) -> bytes:
    """The fields that all usable rows of a started upload share, as the beginning of a JSON object."""
    started_at = upload.started_at
    assert started_at is not None
    common = {
        "upload_id": upload.upload_id,
        "round": 0,
        "owner": upload.opened.owner,
        "priority": upload.priority,
        "wanted_at": started_at,
        "accept_since": upload.accept_since(default_max_age_seconds=default_max_age_seconds),
    }
    return orjson.dumps(common, option=orjson.OPT_UTC_Z)[:-1] + b","


def rejected_head(upload: FeederUpload) -> bytes:
    """The beginning of a rejected row; its body holds the error."""
    return orjson.dumps({"upload_id": upload.upload_id})[:-1] + b","


def left_out_head(upload: FeederUpload, detail: str) -> bytes:
    """The beginning of a usable row that is not looked up: cancelled, or beyond what was asked for."""
    error = RowError(code="cancelled", detail=detail)
    return orjson.dumps({"upload_id": upload.upload_id, "error": error.model_dump()})[:-1] + b","
