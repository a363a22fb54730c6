"""Uploads a file over HTTP and waits for the outcome, as a client would."""

import time
from pathlib import Path
from typing import Any

import httpx


def post(client: httpx.Client, path: Path, **options: Any) -> dict[str, Any]:
    """Sends the file and returns the upload."""
    with path.open("rb") as file:
        response = client.post("/v1/uploads", files={"file": (path.name, file, "text/csv")}, params=options)
    response.raise_for_status()
    upload: dict[str, Any] = response.json()
    return upload


def wait_until_finished(client: httpx.Client, upload_id: str, *, deadline_seconds: float) -> dict[str, Any]:
    """Long-polls until the upload is finished.

    Raises:
        TimeoutError: it was not finished in time.
    """
    deadline = time.monotonic() + deadline_seconds
    while time.monotonic() < deadline:
        response = client.get(f"/v1/uploads/{upload_id}", params={"wait": 30})
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            continue
        response.raise_for_status()
        upload: dict[str, Any] = response.json()
        if upload["state"] in {"completed", "failed", "cancelled"}:
            return upload
    raise TimeoutError(f"upload {upload_id} was not finished after {deadline_seconds} s")


def scrub(client: httpx.Client, path: Path, *, deadline_seconds: float, **options: Any) -> tuple[float, dict[str, Any]]:
    """Seconds from the POST's first byte until the upload was finished, and the upload."""
    started = time.monotonic()
    upload = post(client, path, **options)
    finished = wait_until_finished(client, upload["id"], deadline_seconds=deadline_seconds)
    return time.monotonic() - started, finished
