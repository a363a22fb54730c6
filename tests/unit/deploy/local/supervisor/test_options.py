"""What a stack consists of: flags before variables before defaults, and clear refusals."""

import socket
from pathlib import Path

import pytest

from deploy.local.broker import free_port
from deploy.local.errors import StackError
from deploy.local.supervisor.options import (
    Flags,
    StackOptions,
    UsageError,
    parse_scale,
    refuse_taken_ports,
    stack_options,
)
from deploy.local.supervisor.parts import STOP_ORDER, role_parts
from schemas.settings import Settings


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "DATA", "KAFKA", "LOOKUP_URL", "PROVIDER", "DATABASE"):
        monkeypatch.delenv(f"SCRUB_{name}", raising=False)


def options(flags: Flags, monkeypatch: pytest.MonkeyPatch, **variables: str) -> StackOptions:
    named = {f"SCRUB_{name.upper()}": value for name, value in variables.items()}
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    return stack_options(flags, named)


def test_flags_win_over_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = options(
        Flags(port=8123, data=tmp_path, lookup_url="http://127.0.0.1:1/flag"),
        monkeypatch,
        port="8124",
        data="elsewhere",
        lookup_url="http://127.0.0.1:1/variable",
    )
    assert chosen.settings.port == 8123
    assert chosen.settings.data == tmp_path
    assert chosen.settings.lookup_url == "http://127.0.0.1:1/flag"


def test_variables_win_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = options(Flags(), monkeypatch, port="8124", data="elsewhere", lookup_url="http://127.0.0.1:1/")
    assert chosen.url == "http://127.0.0.1:8124"
    assert chosen.settings.data == Path("elsewhere").absolute()
    assert chosen.simulator_port is None


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = options(Flags(), monkeypatch)
    assert chosen.url == "http://127.0.0.1:8000"
    assert (chosen.kafka_port, chosen.settings.kafka) == (9092, "127.0.0.1:9092")
    assert chosen.settings.lookup_url == f"http://127.0.0.1:{chosen.simulator_port}/lookup"


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8000"), ("0.0.0.0", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000")],
)
def test_the_address_can_be_opened_on_this_machine(monkeypatch: pytest.MonkeyPatch, host: str, url: str) -> None:
    monkeypatch.setenv("SCRUB_HOST", host)
    assert options(Flags(), monkeypatch).url == url


def test_no_broker_is_started_beside_a_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = options(Flags(kafka_port=9999), monkeypatch, kafka="kafka:9092")
    assert chosen.kafka_port is None
    assert chosen.environment()["SCRUB_KAFKA"] == "kafka:9092"


def test_every_instance_is_a_part_and_every_part_has_its_place_in_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = role_parts(options(Flags(scale="worker=2,gate=2"), monkeypatch))
    names = {part.name for part in parts}
    assert names == {"web-1", "feeder-1", "gate-1", "gate-2", "worker-1", "worker-2", "join-1"}
    assert {part.role for part in parts} | {"simulator", "kafka"} == {role for step in STOP_ORDER for role in step}
    instances = {part.name: part.env["SCRUB_INSTANCE"] for part in parts}
    assert instances["worker-2"] == "2"


@pytest.mark.parametrize("scale", ["worker", "worker=", "worker=0", "worker=-1", "web=2", "nobody=1", "join=2"])
def test_a_scale_that_makes_no_sense(scale: str) -> None:
    with pytest.raises(UsageError, match=r"--scale"):
        parse_scale(scale, Settings())


def test_two_joins_are_allowed_on_a_database_for_many() -> None:
    assert parse_scale("join=2", Settings(database="postgresql+psycopg://db/scrub"))["join"] == 2


@pytest.mark.parametrize(("taken", "flag"), [("port", "--port"), ("kafka_port", "--kafka-port")])
def test_a_port_in_use_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch, taken: str, flag: str) -> None:
    ports = {"port": free_port(), "kafka_port": free_port()}
    chosen = options(Flags(port=ports["port"], kafka_port=ports["kafka_port"]), monkeypatch)
    refuse_taken_ports(chosen)
    with socket.create_server(("127.0.0.1", ports[taken])), pytest.raises(StackError) as refusal:
        refuse_taken_ports(chosen)
    assert str(ports[taken]) in str(refusal.value)
    assert flag in str(refusal.value)
