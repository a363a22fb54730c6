"""Phones that are planted on every way that goes wrong turn up in no log, metric, header or address of ours.

A real stack logs at its most talkative while files, rows, commands, addresses, replies of the lookup API and records
go wrong, each with phones of its own. Then all that the stack wrote and answered is searched for their digits, however
they are separated. The lookup API's own log must hold phones: that it is found there shows that the search works.
A second stack has tokens, and is asked by strangers: what they write into addresses and headers does not come back.
"""

import asyncio
import contextlib
import io
import json
import re
import socket
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

from schemas import topics
from schemas.settings import Settings
from services.runtime.kafka import make_producer, started, topic_name
from tests.e2e.files import post
from tests.e2e.waiting import wait_until_finished
from tests.fixtures.stack import RunningStack, StackFactory, stacks
from tests.support.waiting import eventually_sync

_SEPARATORS = re.compile(r"(?:[\s().\-/_+\u00a0\u2010-\u2015]|%2[0-9BDF]|%C2%A0|\\u00a0)+")
FAILING_AREAS = ("931", "934", "936", "938", "945")
"""How the simulator fails them: silence, 500, 429, garbage, a closed connection. 937 (401) pauses all calls."""
PLANTED_LINE = "5550142"
TOKEN = "token-of-ann"


def planted(area: str) -> str:
    """The ten digits of a fictional phone that stands nowhere else."""
    return area + PLANTED_LINE


BAD_AREAS = ("301", "302", "303", "304", "305", "306", "307", "308", "309", "312", "313", "314", "316", "317", "318")
ALL_PLANTED = {planted(area) for area in (*FAILING_AREAS, "937", "415", *BAD_AREAS)}


def found_in(text: str) -> set[str]:
    """The planted phones whose digits stand in a text with at most separators between them."""
    digits = _SEPARATORS.sub("", text)
    return {phone for phone in ALL_PLANTED if phone in digits}


@pytest.mark.parametrize(
    "written",
    [
        "+14155550142",
        "(415) 555-0142",
        "1-415-555-0142",
        "415.555.0142",
        "4 1 5 5 5 5 0 1 4 2",
        "%2B1%20415%20555%200142",
    ],
)
def test_the_search_knows_a_phone_however_it_is_written(written: str) -> None:
    assert found_in(f"2026-01-05 12:00:00,000 INFO gate {written}: no reply") == {planted("415")}


@dataclass
class Told:
    """Everything that a client was told apart from the bodies that are meant for the phones' owner."""

    texts: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, response: httpx.Response) -> httpx.Response:
        """Keeps an answer's headers, and of a problem document its type, title and instance.

        The name of a download is left out: it is the name of the file that the same person sent.
        """
        kept = [(name, value) for name, value in response.headers.items() if name != "content-disposition"]
        headers = "\n".join(f"{name}: {value}" for name, value in kept)
        self.texts.append((f"headers of {response.status_code}", headers))
        if response.headers.get("content-type") == "application/problem+json":
            problem = response.json()
            told = {name: problem.get(name) for name in ("type", "title", "instance")}
            self.texts.append((f"problem {problem['type']}", json.dumps(told)))
        return response

    def whole(self, response: httpx.Response) -> httpx.Response:
        """Keeps an answer's headers and body: of those that hold nobody's uploads."""
        self.texts.append((f"body of {response.status_code} for {response.request.method}", response.text))
        return self.answer(response)


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with stacks(tmp_path_factory.mktemp("leaks")) as start:
        yield _started(start)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """As talkative, with tokens: it sends people to the sign-in form, and any `Host` gets an answer."""
    with stacks(tmp_path_factory.mktemp("locked-leaks")) as start:
        yield _started(start, SCRUB_TOKENS=json.dumps({TOKEN: "ann"}))


def _started(start: StackFactory, **settings: str) -> RunningStack:
    return start(
        env={"SCRUB_LOG_LEVEL": "DEBUG", "SCRUB_MAX_ATTEMPTS": "2", "SCRUB_LOOKUP_TIMEOUT_SECONDS": "1", **settings},
    )


def test_no_planted_phone_gets_out(talkative: RunningStack, tmp_path: Path) -> None:
    told = Told()
    with talkative.client() as client:
        _rows_and_providers_fail(client, told, tmp_path)
        _files_are_bad(client, told, tmp_path)
        _commands_are_bad(client, told)
        _addresses_are_bad(talkative, client, told)
        asyncio.run(_records_are_poison(talkative))
        _the_account_is_refused(client, tmp_path)
        for path in ("/metrics", "/v1/queue", "/health/ready", "/openapi.json"):
            told.texts.append((path, client.get(path).text))
    _assert_silent(talkative, told, parts=("web", "feeder", "gate", "join"))
    reached = found_in(talkative.calls_log.read_text(encoding="utf-8"))
    assert reached >= {planted(area) for area in (*FAILING_AREAS, "937", "415")}, "the lookup API was asked for them"


def test_nothing_that_strangers_send_comes_back(locked: RunningStack) -> None:
    told = Told()
    with locked.client() as stranger:
        _strangers_ask(stranger, told)
        assert not stranger.cookies
    _strangers_knock(locked)
    with locked.client(headers={"Authorization": f"Bearer {TOKEN}"}) as ann:
        _addresses_are_bad(locked, ann, told)
        for path in LOCKED_ADDRESSES:
            told.answer(ann.get(path))
        told.whole(ann.get(f"/?show={planted('317')}&said={planted('317')}"))
    _people_sign_in(locked, told)
    assert len(told.texts) > 500, "everything that was answered is searched"
    _assert_silent(locked, told, parts=("web",))


def _assert_silent(stack: RunningStack, told: Told, *, parts: tuple[str, ...]) -> None:
    """Stops the stack; neither its logs nor what clients were told hold a planted phone. All `parts` wrote a log."""
    stack.stop()
    logs = _logs(stack)
    for part in parts:
        assert any(path.name.startswith(part) and path.stat().st_size for path in logs), f"{part} wrote no log"
    written = [(path.name, path.read_text(encoding="utf-8", errors="replace")) for path in logs]
    assert [(name, line) for name, text in written for line in text.splitlines() if found_in(line)] == []
    assert [(name, text) for name, text in told.texts if found_in(text)] == []


def _logs(stack: RunningStack) -> list[Path]:
    """Everything that the stack's processes wrote for people: not Kafka's data, not the API's own log."""
    logs = [path for path in (stack.data / "log").iterdir() if path != stack.calls_log]
    return [stack.output, *logs]


def _spelled(phone: str) -> str:
    return f"({phone[:3]}) {phone[3:6]}-{phone[6:]}"


def _rows_and_providers_fail(client: httpx.Client, told: Told, folder: Path) -> None:
    """Rows that cannot be used, and one phone for each way in which the lookup API fails."""
    rows = [
        f"Ann,{_spelled(planted('415'))}",
        f"Bad,{planted('301')}99x",
        f"Sci,{planted('302')[0]}.{planted('302')[1:]}E+09",
    ]
    rows += [f"P{area},{_spelled(planted(area))}" for area in FAILING_AREAS]
    file = folder / f"list of {planted('303')}.csv"
    file.write_text("name,phone\n" + "\n".join(rows) + "\n", encoding="utf-8")
    upload = wait_until_finished(client, post(client, file))
    assert upload["counts"]["failed"] == len(FAILING_AREAS)
    assert upload["counts"]["rejected"] == 2
    for path in (upload["links"]["rows"], upload["links"]["result_csv"], upload["links"]["page"], "/admin", "/"):
        told.answer(client.get(path))
    told.answer(client.post("/v1/dead-letters/redrive", json={"upload_id": upload["id"], "dry_run": True}))


def _files_are_bad(client: httpx.Client, told: Told, folder: Path) -> None:
    """Files that are refused, each with a phone where a reader may quote it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(f"{planted('304')}.csv", "x")
        target.writestr(f"{planted('304')} too.csv", "x")
    sheet = b"PK\x03\x04" + planted("305").encode() * 50
    endless = b'name,phone\n"' + planted("306").encode() * 200_000
    document = json.dumps([{"phone": planted("307")}], indent=1).encode()
    for number, content in enumerate((archive.getvalue(), sheet, endless, document)):
        file = folder / f"bad-{number}-{planted('304')}.csv"
        file.write_bytes(content)
        upload = wait_until_finished(client, post(client, file))
        assert upload["state"] == "failed"
        told.answer(client.get(upload["links"]["page"]))
    file = folder / "headless.csv"
    file.write_text(f"{planted('308')},x\n" * 9, encoding="utf-8")
    for options in ({"phone_column": planted("308")}, {"area_column": planted("308")}, {"sheet": planted("308")}):
        told.answer(client.post("/v1/uploads", params=options, files={"file": (file.name, file.read_bytes())}))
    told.answer(client.post("/v1/uploads", content=b"", headers={"Idempotency-Key": planted("308")}))
    told.answer(
        client.post(
            "/v1/uploads", content=f"--{planted('308')}", headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
    )


def _commands_are_bad(client: httpx.Client, told: Told) -> None:
    phone = planted("309")
    for path in ("/v1/phones/forget", "/v1/dead-letters/redrive", "/v1/uploads/clear", "/v1/uploads/unheard-of/start"):
        for body in ({"phone": f"+{phone}x"}, {phone: phone}, {"upload_id": phone, "before": phone}, [phone], phone):
            told.answer(client.post(path, json=body))
        told.answer(client.post(path, content=phone))
    for path in ("/selected", "/admin/clear", "/admin/redrive", "/sign-in"):
        told.answer(client.post(path, data={"id": phone, "action": phone, "older_than_days": phone, "token": phone}))
    told.answer(client.post("/v1/phones/forget", json={"phone": f"+1{planted('312')}"}))


def _addresses_are_bad(stack: RunningStack, client: httpx.Client, told: Told) -> None:
    phone = planted("313")
    for path in (
        f"/v1/uploads/+1{phone}",
        f"/v1/uploads/{phone}/rows",
        f"/v1/uploads/{phone}/result.csv?rows={phone}",
        f"/v1/uploads?cursor={phone}&state={phone}",
        f"/v1/dead-letters?{phone}={phone}",
        f"/v1/audit?by={phone}&cursor={phone}",
        f"/uploads/{phone}",
        f"/uploads/{phone}/check",
        f"/static/x/{phone}",
        f"/{phone}",
        f"/?show={phone}&cursor={phone}&said={phone}",
    ):
        told.answer(client.get(path))
        told.answer(client.post(path))
        told.answer(client.get(path, headers={"Host": f"{phone}.example"}))
    for address in (f"/v1/uploads/{phone}/events", f"/{phone}", f"/v1/uploads/x/events?after={phone}:1"):
        with contextlib.suppress(InvalidHandshake, OSError):
            connect(stack.url.replace("http", "ws") + address).close()
    for request in (f"GET /{phone} HTTP/9.9\r\n\r\n", f"{phone}\r\n\r\n", f"GET / HTTP/1.1\r\n{phone}\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", stack.port), timeout=5) as connection:
            connection.sendall(request.encode())
            connection.recv(4096)


_UPLOAD = "/uploads/019b8f6c-2a10-7c3e-9d41-5b6f00a1c2d3"
LOCKED_ADDRESSES = tuple(
    address.format(planted("316"))
    for address in (
        "/?show={0}&cursor={0}&said={0}",
        "/?{0}",
        "/{0}",
        "/{0}/",
        "/{0}/{0}",
        "//{0}.example/",
        "/uploads/{0}",
        "/uploads/{0}/",
        "/uploads/{0}/check",
        "/uploads/{0}/check/?open={0}",
        "/uploads/{0}/start",
        _UPLOAD + "?state={0}&limit={0}&{0}=1",
        _UPLOAD + "/check?open={0}",
        _UPLOAD + "/{0}",
        "/admin?audit={0}",
        "/admin/?audit={0}",
        "/admin/{0}",
        "/docs?{0}",
        "/docs/?{0}",
        "/sign-in/?next={0}",
        "/sign-out/?{0}",
        "/static/{0}/{0}",
        "/static/{0}/page.css/",
        "/v1/uploads/?{0}",
        "/v1/uploads/{0}/",
        "/v1/uploads/{0}/result.csv?rows={0}",
        "/v1/queue/?{0}",
        "/v1/audit?by={0}",
        "/health/live/?{0}",
    )
)
"""Addresses that hold a phone, of pages and calls that are there and that are not, also with a slash at the end."""


def _strangers_ask(client: httpx.Client, told: Told) -> None:
    """Whoever has no token, or a wrong one, is told nothing but our own words."""
    wrong = planted("317")
    for path in LOCKED_ADDRESSES:
        for headers in (
            {},
            {"Host": f"{wrong}.example"},
            {"Referer": f"http://{wrong}.example/{wrong}", "Origin": f"http://{wrong}.example"},
            {"Authorization": f"Bearer {wrong}"},
            {"Authorization": f"Basic {wrong}"},
            {"Authorization": wrong},
            {"Cookie": f"scrub_session={wrong}"},
        ):
            told.whole(client.get(path, headers=headers))
            told.whole(client.post(path, headers=headers, data={"id": wrong, "action": wrong}))
        told.whole(client.get("/sign-in", params={"next": path}))
        told.whole(client.post("/sign-in", data={"next": path, "token": wrong}))
    told.whole(client.post("/v1/uploads", content=wrong, headers={"Authorization": f"Bearer {wrong}"}))


def _strangers_knock(stack: RunningStack) -> None:
    wrong = planted("318")
    for headers in ({"Authorization": f"Bearer {wrong}"}, {"Cookie": f"scrub_session={wrong}"}, {"Origin": wrong}):
        with contextlib.suppress(InvalidHandshake, OSError):
            connect(f"{stack.url.replace('http', 'ws')}/v1/uploads/{wrong}/events", additional_headers=headers).close()


def _people_sign_in(stack: RunningStack, told: Told) -> None:
    """Who gives the right token is led on; the address that they came with may be a stranger's."""
    for path in LOCKED_ADDRESSES:
        with stack.client() as client:
            answer = told.whole(client.post("/sign-in", data={"next": path, "token": TOKEN}))
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/")


async def _records_are_poison(stack: RunningStack) -> None:
    """Records that are no JSON, or of another shape, with a phone as key, as value, as field name and as kind."""
    phone = f"+1{planted('314')}"
    values = (
        phone,
        f'"{phone}"',
        json.dumps({"type": phone}),
        json.dumps({"type": "upload_checked", "preview": {"problems": {phone: phone}}}),
        json.dumps({"phone": f"{phone}x", "upload_id": phone, phone: phone, "cells": phone}),
    )
    settings = Settings(kafka=stack.kafka)
    async with started(make_producer(settings)) as producer:
        for topic in topics.TOPICS:
            for value in values:
                await producer.send_and_wait(topic_name(topic, settings), value.encode(), key=phone.encode())


def _the_account_is_refused(client: httpx.Client, folder: Path) -> None:
    """After the poison everything still works, and a 401 of the lookup API stops all calls."""
    file = folder / "account.csv"
    file.write_text(f"name,phone\nAnn,{_spelled(planted('415'))}\n", encoding="utf-8")
    assert wait_until_finished(client, post(client, file))["counts"]["answered"] == 1
    file.write_text(f"name,phone\nAcc,{_spelled(planted('937'))}\n", encoding="utf-8")
    post(client, file)
    eventually_sync(
        lambda: client.get("/v1/queue").json()["state"] == "account_problem", seconds=60, what="the account's problem"
    )
