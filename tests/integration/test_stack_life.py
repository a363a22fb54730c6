"""A whole stack comes up, tells where it is, and leaves nothing running, however it ends."""

import json
from collections.abc import Mapping

import httpx
import psutil

from tests.fixtures.broker import PARTITIONS
from tests.fixtures.stack import StackFactory
from tests.support.waiting import eventually_sync

PARTS = {"kafka-1", "simulator-1", "web-1", "feeder-1", "gate-1", "worker-1", "join-1"}


def alive(pids: Mapping[str, int]) -> set[str]:
    return {name for name, pid in pids.items() if psutil.pid_exists(pid)}


def test_the_life_of_a_stack(start_stack: StackFactory) -> None:
    stack = start_stack()
    ready = stack.data / "run" / "ready.json"
    said = json.loads(ready.read_text(encoding="utf-8"))
    assert said == {"url": stack.url, "kafka": stack.kafka, "pids": stack.pids()}
    assert set(said["pids"]) == alive(said["pids"]) == PARTS
    assert f"ready {stack.url}\n" in stack.output.read_text(encoding="utf-8")

    # A part that dies comes back, loudly, and ready.json follows.
    died = stack.kill("feeder-1")
    born = stack.wait_for_new("feeder-1", than=died)
    eventually_sync(
        lambda: json.loads(ready.read_text(encoding="utf-8"))["pids"]["feeder-1"] == born,
        seconds=20,
        what="ready.json to tell the new pid",
    )
    assert f"feeder-1 (pid {died}) ended by itself (by SIGKILL)" in stack.output.read_text(encoding="utf-8")

    # Nothing outlives the supervisor, even when it could not stop anything.
    first_life = stack.pids()
    stack.kill_supervisor()
    eventually_sync(lambda: not alive(first_life), seconds=30, what="all parts to be gone")

    # The next start is on the same data, and a stop leaves nothing behind.
    stack.start()
    second_life = stack.pids()
    assert httpx.get(f"{stack.url}/health/ready", trust_env=False).status_code == 200
    assert stack.stop() == 0
    assert not alive(second_life)
    assert not ready.exists()
    assert stack.pids() == {}


def test_a_stack_on_a_given_cluster_starts_no_broker(start_stack: StackFactory, broker: str, topics: str) -> None:
    stack = start_stack(env={"SCRUB_KAFKA": broker, "SCRUB_TOPIC_PREFIX": topics, "SCRUB_PARTITIONS": str(PARTITIONS)})
    said = json.loads((stack.data / "run" / "ready.json").read_text(encoding="utf-8"))
    assert said["kafka"] == broker
    assert set(said["pids"]) == PARTS - {"kafka-1"}
    assert stack.stop() == 0
    assert not alive(said["pids"])
