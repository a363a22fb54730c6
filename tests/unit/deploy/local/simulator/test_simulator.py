"""The simulated lookup API as a caller meets it: over HTTP, from a process of its own."""

import asyncio
import json
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.simulator.server import phone_of


@dataclass(frozen=True, slots=True)
class Simulator:
    url: str
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def simulator(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Simulator]:
    log = tmp_path / "calls.jsonl"
    flags = ["--port", "0", "--log", str(log), "--latency-ms", "1", *getattr(request, "param", [])]
    command = [sys.executable, "-m", "deploy.local.simulator", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Simulator(process.stdout.readline().split()[-1], log)
        process.terminate()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as client:
        yield client


def test_an_answer_has_the_shape_of_the_contract(simulator: Simulator, http: httpx.Client) -> None:
    answer = http.get(simulator.url, params={"phone": "+14155550100"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["phone"] == "+14155550100"
    assert isinstance(document["valid"], bool)


def test_an_arrival_is_in_the_log_when_its_answer_is_here(simulator: Simulator, http: httpx.Client) -> None:
    for count, phone in enumerate(("+14155550100", "+19345550100", "+14155550100"), start=1):
        status = http.get(simulator.url, params={"phone": phone}).status_code
        assert len(simulator.lines()) == count
        assert simulator.lines()[-1].items() >= {"phone": phone, "status": status}.items()
    stamps = [line["t_ns"] for line in simulator.lines()]
    assert stamps == sorted(stamps)


async def test_more_calls_than_the_limit_are_refused(simulator: Simulator) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        questions = (client.get(simulator.url, params={"phone": f"+1415555{n:04d}"}) for n in range(100, 140))
        answers = await asyncio.gather(*questions)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    served = [line["t_ns"] for line in simulator.lines() if line["status"] == 200]
    assert len(served) + len(refused) == len(answers)
    assert max(bisect_left(served, t_ns + 1_000_000_000) - first for first, t_ns in enumerate(served)) <= 10


@pytest.mark.parametrize("simulator", [["--limit", "0"]], indirect=True)
async def test_requests_sent_ahead_are_answered_in_order(simulator: Simulator) -> None:
    port = int(httpx.URL(simulator.url).port or 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    phones = [f"+1415555{n:04d}" for n in range(100, 120)]
    for phone in phones:
        writer.write(f"GET /lookup?phone=%2B{phone[1:]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answered = []
    for _ in phones:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().split("content-length:")[1].split()[0])
        answered.append(json.loads(await reader.readexactly(length))["phone"])
    writer.close()
    await writer.wait_closed()
    assert answered == phones


def test_numbers_that_get_no_answer(simulator: Simulator, http: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(simulator.url, params={"phone": "+19455550100"})
    with pytest.raises(httpx.ReadTimeout):
        http.get(simulator.url, params={"phone": "+19315550100"}, timeout=0.2)
    assert [line["status"] for line in simulator.lines()] == [0, 0]


def test_what_is_no_lookup(simulator: Simulator, http: httpx.Client) -> None:
    assert http.get(simulator.url).status_code == 400
    assert http.post(simulator.url, params={"phone": "+14155550100"}).status_code == 405


@pytest.mark.parametrize(
    ("target", "phone"),
    [
        ("/lookup?phone=%2B14155550100", "+14155550100"),
        ("/lookup?key=1&phone=%2B14155550100", "+14155550100"),
        ("/v2/%2B14155550100?key=1", "+14155550100"),
        ("/lookup?phone=", ""),
        ("/lookup", ""),
    ],
)
def test_where_the_phone_is_found(target: str, phone: str) -> None:
    assert phone_of(target) == phone


def test_a_taken_port_is_said_in_one_line(simulator: Simulator, tmp_path: Path) -> None:
    port = str(httpx.URL(simulator.url).port)
    command = [sys.executable, "-m", "deploy.local.simulator", "--port", port, "--log", str(tmp_path / "other")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert port in done.stderr


@pytest.mark.parametrize("flags", [["--log", "x", "--fail-rate", "2"], ["--log", "x", "--limit", "-1"], []])
def test_usage(flags: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "deploy.local.simulator", *flags], capture_output=True, check=False)
    assert done.returncode == 2
