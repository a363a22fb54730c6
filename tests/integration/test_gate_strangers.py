"""A gate as a process beside hostile records and a hostile provider: it goes on, and everybody else is served."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from schemas import topics as registry
from schemas.codec import decode
from schemas.rows import KEPT_BYTES, BadRecord
from services.runtime.kafka import topic_name
from tests.fixtures.ids import upload_id
from tests.integration.gate_process import GateProcess, GateStand, on_stand, phone, request
from tests.support.waiting import eventually
from tests.unit.lookup.gate.provider_server import http, responding

pytestmark = pytest.mark.hostile

TIMES = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2099-01-01T00:00:00Z")
ALWAYS_500 = [f"+19345550{100 + number}" for number in range(20)]


def hostile_events() -> list[bytes | None]:
    pause = {"type": "pause_upload", "upload_id": upload_id("u1"), "by": "x"}
    return [
        None,
        b"",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        os.urandom(900_000),
        *(json.dumps(pause | {"at": at}).encode() for at in TIMES),
        json.dumps(pause | {"at": TIMES[2], "by": "x" * 1_000_000}).encode(),
        json.dumps(pause | {"at": "2026-01-01T00:00:00Z", "upload_id": "../.."}).encode(),
        json.dumps({"type": "set_priority", "upload_id": upload_id("u1"), "at": TIMES[0], "priority": 10**30}).encode(),
    ]


def hostile_requests() -> list[tuple[bytes, bytes | None]]:
    good = request(phone(1)).model_dump(mode="json")

    def keyed(**changed: object) -> tuple[bytes, bytes]:
        return request(phone(1)).key.encode(), json.dumps(good | changed).encode()

    return [
        (b"\xff\xfe", None),
        (b"::", None),
        (request(phone(9)).key.encode(), json.dumps(good).encode()),
        keyed(owner="x" * 1_000_000),
        keyed(owner=""),
        keyed(round=10**30),
        keyed(wanted_at="2099-01-01T00:00:00Z"),
        keyed(upload_id="bad id with blanks"),
        keyed(phone="+1"),
    ]


async def put_aside(stand: GateStand) -> list[BadRecord]:
    return [decode(BadRecord, record.value) for record in await stand.records(registry.BAD_RECORDS)]


async def is_alive(gate: GateProcess) -> bool:
    return gate.process.poll() is None


async def test_hostile_records_are_put_aside_and_stop_nothing(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10") as stand:
        await stand.want([phone(number) for number in range(5)])
        gate = stand.start_gate()
        await stand.wait_for_results(5)
        events = topic_name(registry.UPLOAD_EVENTS, stand.settings)
        requests = topic_name(registry.LOOKUP_REQUESTS, stand.settings)
        for value in hostile_events():
            await stand.producer.send_and_wait(events, value, key=upload_id("u1").encode())
        for key, value in hostile_requests():
            await stand.producer.send_and_wait(requests, value, key=key)
        expected = len(hostile_events()) + len(hostile_requests())
        await stand.want([phone(number) for number in range(5, 10)])
        await stand.wait_for_results(10)

        async def all_are_put_aside() -> bool:
            return len(await put_aside(stand)) >= expected

        await eventually(all_are_put_aside, what="the hostile records to be put aside")
        assert await is_alive(gate)
        aside = await put_aside(stand)
        assert len(aside) == expected
        assert {each.reason for each in aside} == {"undecodable"}
        assert {each.role for each in aside} == {"gate"}
        assert all(len(each.value or b"") <= KEPT_BYTES for each in aside)
        assert max(each.bytes_ or 0 for each in aside) > 900_000
        log = (tmp_path / "gate-1.log").read_text()
        assert "a new producer will send it again" not in log
        assert phone(1)[1:] not in log


async def test_a_gate_puts_aside_what_came_while_none_was_there(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10") as stand:
        events = topic_name(registry.UPLOAD_EVENTS, stand.settings)
        await stand.producer.send_and_wait(events, b"not json", key=b"x")
        await stand.want([phone(1)])
        first = stand.start_gate()
        await stand.wait_for_results(1)

        async def one_is_put_aside() -> bool:
            return len(await put_aside(stand)) == 1

        await eventually(one_is_put_aside, what="the record to be put aside")
        assert first.stop() == 0
        stand.start_gate()
        await stand.want([phone(2)])
        await stand.wait_for_results(2)
        assert len(await put_aside(stand)) == 1, "what one gate has put aside, the next does not"


async def test_bad_phones_of_one_upload_keep_another_owner_waiting_for_nothing(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10") as stand:
        await stand.want(ALWAYS_500, "bad")
        stand.start_gate()
        await stand.wait_for_calls(25)
        called = len(stand.api.arrivals())
        await stand.want([phone(number) for number in range(3)], "good", owner="owner-2")
        await stand.wait_for_results(3)
        assert len(stand.api.arrivals()) < called + 30
        status = await stand.status()
        assert status is not None
        assert status.state == "running"


async def test_replies_that_do_harm_are_attempts_like_any_other(broker: str, topics: str, tmp_path: Path) -> None:
    """Each ended the gate, and was called again, never backed off, after each restart."""
    harmful = {
        phone(1): http(b"", status="503 X", headers="retry-after: Mon, 01 Jan 2024 00:00:00 +99999999999999999\r\n"),
        phone(2): http(b"", status="302 X", headers="location: mailto:x\r\n"),
        phone(3): http(b'{"phone":"+19999999999","valid":true}'),
        phone(4): b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}" + http(b'{"valid":true,"carrier":"not yours"}'),
    }
    attempts = dict.fromkeys(harmful, 0)

    async def respond(head: bytes, writer: asyncio.StreamWriter) -> None:
        number = "+" + head.split(b"phone=%2B", 1)[1].split(b" ", 1)[0].decode()
        attempts[number] = attempts.get(number, 0) + 1
        is_good = number not in harmful or attempts[number] == 2
        writer.write(http(f'{{"phone":"{number}","valid":false}}'.encode()) if is_good else harmful[number])

    async with on_stand(broker, topics, tmp_path) as stand, responding(respond) as server:
        gate = stand.start_gate(lookup_url=f"http://127.0.0.1:{server.port}/lookup")
        await stand.want([phone(number) for number in range(1, 9)])
        await stand.wait_for_results(8)
        assert await is_alive(gate)
        results = {each.phone: each for each in await stand.results()}
        assert {each.outcome for each in results.values()} == {"not_valid"}
        assert {number: results[number].attempts for number in harmful} == dict.fromkeys(harmful, 2)
        assert attempts == {phone(number): 2 if phone(number) in harmful else 1 for number in range(1, 9)}
