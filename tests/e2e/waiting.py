"""Waits from outside until an upload is finished, through restarts of the service that is asked."""

from typing import Any

import httpx

from schemas.uploads import FINISHED
from tests.support.waiting import eventually_sync


def get(client: httpx.Client, path: str) -> httpx.Response:
    """The answer, once the service is there: whoever asks one that was just killed asks again."""

    def answered() -> httpx.Response | None:
        try:
            response = client.get(path)
        except httpx.TransportError:
            return None
        return response if response.status_code == httpx.codes.OK else None

    response: httpx.Response = eventually_sync(answered, seconds=60, what=f"an answer from {path}")
    return response


def wait_until_finished(client: httpx.Client, upload_id: str, *, seconds: float = 120) -> dict[str, Any]:
    """The upload once it is completed, failed or cancelled."""

    def finished() -> dict[str, Any] | None:
        upload: dict[str, Any] = get(client, f"/v1/uploads/{upload_id}?wait=5").json()
        return upload if upload["state"] in FINISHED else None

    upload: dict[str, Any] = eventually_sync(finished, seconds=seconds, what=f"upload {upload_id} to finish")
    return upload
