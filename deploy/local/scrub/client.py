"""Speaks the HTTP interface as a client: sends a file, follows its upload, reads its rows and its result."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import quote

import httpx

from deploy.local.errors import StackError
from schemas.base import Message
from schemas.codec import UndecodableRecord, decode
from schemas.interface import Page, Problem, Row, Upload
from schemas.rows import RowState
from schemas.uploads import FINISHED

M = TypeVar("M", bound=Message)
_POLL_SECONDS = 1
_PATIENCE = 60
"""Failed polls in a row, a second apart, before giving up: a part that restarts is back sooner."""
_CHUNK_BYTES = 256 * 1024
_ROWS_A_PAGE = 200


class Client:
    """One service at one address. All calls block; any raises StackError with the service's own words."""

    def __init__(self, url: str, *, token: str | None, pause: Callable[[float], None]) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # The service is often on this machine, where a proxy of the environment has no business.
        self._http = httpx.Client(base_url=url, headers=headers, timeout=60.0, trust_env=False)
        self._url = url.rstrip("/")
        self._pause = pause

    @property
    def address(self) -> str:
        return self._url

    def close(self) -> None:
        self._http.close()

    def send(self, file: Path, options: dict[str, str], on_bytes: Callable[[int], None]) -> Upload:
        """Uploads a file. Returns the new upload once Kafka has all of the file."""
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}",
            "Content-Type": "application/octet-stream",
            "Content-Length": str(file.stat().st_size),
        }
        with file.open("rb") as source:
            body = _chunks(source, on_bytes)
            return self._ask(Upload, "POST", "/v1/uploads", content=body, headers=headers, params=options)

    def follow(self, upload: Upload, on_change: Callable[[Upload], None]) -> Upload:
        """Returns the upload when it is finished; `on_change` sees it about once a second until then."""
        failures = 0
        while upload.state not in FINISHED:
            try:
                upload = self._ask(Upload, "GET", upload.links.self, params={"wait": str(_POLL_SECONDS)})
                failures = 0
                on_change(upload)
            except _TryAgainError as error:
                failures += 1
                if failures >= _PATIENCE:
                    raise StackError(str(error)) from error
                self._pause(_POLL_SECONDS)
        return upload

    def rows(self, upload: Upload, state: RowState, *, at_most: int) -> Iterator[Row]:
        """The first rows of a state, in the order of the file."""
        cursor: str | None = None
        while at_most > 0:
            params = {"state": state, "limit": str(min(at_most, _ROWS_A_PAGE))} | ({"cursor": cursor} if cursor else {})
            page = self._ask(Page[Row], "GET", upload.links.rows, params=params)
            yield from page.items
            at_most -= len(page.items)
            cursor = page.next
            if cursor is None:
                return

    def download(self, upload: Upload, target: Path) -> None:
        """Writes the result file; a file already there is replaced only by a whole one."""
        fresh = target.with_name(f".{target.name}.new")
        try:
            with self._http.stream("GET", upload.links.result_csv) as response, fresh.open("wb") as file:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise StackError(_words(response, self._url))
                for chunk in response.iter_bytes():
                    file.write(chunk)
            fresh.replace(target)
        except httpx.HTTPError as error:
            raise StackError(f"The result could not be read from {self._url} ({type(error).__name__}).") from error
        except OSError as error:
            raise StackError(f"{target} cannot be written ({error.strerror}): choose another with -o.") from error
        finally:
            fresh.unlink(missing_ok=True)

    def _ask(self, model: type[M], method: str, path: str, **how: object) -> M:
        try:
            # Httpx's options are passed through.
            response = self._http.request(method, path, **how)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise _TryAgainError(f"{self._url} does not answer ({type(error).__name__}): is it running?") from error
        if response.is_server_error:
            raise _TryAgainError(_words(response, self._url))
        if not response.is_success:
            raise StackError(_words(response, self._url))
        try:
            return decode(model, response.content)
        except UndecodableRecord as error:
            raise StackError(f"{self._url} gave an answer that is not understood: {error}.") from error


class _TryAgainError(StackError):
    """The service may be restarting; the same question can be asked again."""


def _chunks(source: IO[bytes], on_bytes: Callable[[int], None]) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK_BYTES):
        on_bytes(len(chunk))
        yield chunk


def _words(response: httpx.Response, url: str) -> str:
    try:
        problem = decode(Problem, response.content)
    except UndecodableRecord:
        return f"{url} answered {response.status_code} {response.reason_phrase}."
    return f"{problem.title}: {problem.detail}"
