"""Runs a whole stack: starts Kafka, topics and roles in order, keeps them running, stops them in order."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress

from deploy.local.broker import prepare_broker, wait_until_answering
from deploy.local.errors import StackError
from deploy.local.supervisor.child import Child, Part
from deploy.local.supervisor.options import StackOptions, refuse_taken_ports
from deploy.local.supervisor.parts import STOP_ORDER, kafka_part, role_parts, simulator_part
from deploy.local.supervisor.readiness import wait_until_ready
from deploy.local.supervisor.run_folder import Ready, RunFolder
from deploy.topics import TopicsError, create_topics

_KAFKA_SECONDS = 60.0
_ROLES_SECONDS = 120.0
_PAUSE_SECONDS = 0.1
_GRACE_SECONDS = 15.0
"""The gate alone awaits replies under way for up to ten seconds."""
_DEATHS_AT_START = 3
"""A part that dies this often before the stack is ready will not come up by itself."""
CALLS_LOG = "simulator-calls.jsonl"


class Stack:
    """One stack on one data folder. `say` writes a line for people."""

    def __init__(self, options: StackOptions, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._run = RunFolder(options.settings.data)
        self._logs = options.settings.data / "log"
        self._children: dict[str, Child] = {}
        self._is_ready = False

    async def run(self, on_ready: Callable[[str], None]) -> None:
        """Starts everything, calls `on_ready` with the address of the pages, and returns when it was told to stop.

        SIGINT and SIGTERM stop it in order; a second one ends all parts at once.

        Raises:
            StackError: it could not be started. Nothing of it is left running.
        """
        self._run.lock()
        running = asyncio.create_task(self._start_and_stay(on_ready))
        interrupts = 0

        def interrupt() -> None:
            nonlocal interrupts
            interrupts += 1
            running.cancel() if interrupts == 1 else self._kill_all()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, interrupt)
        try:
            with suppress(asyncio.CancelledError):
                await running
        finally:
            await self._stop()
            self._run.close()

    async def _start_and_stay(self, on_ready: Callable[[str], None]) -> None:
        self._run.end_leftovers(self._say)
        refuse_taken_ports(self._options)
        self._logs.mkdir(exist_ok=True)
        await self._start_kafka()
        await self._start_roles()
        self._is_ready = True
        self._write_ready()
        on_ready(self._options.url)
        await asyncio.Event().wait()

    async def _start_kafka(self) -> None:
        settings, port = self._options.settings, self._options.kafka_port
        if self._options.simulator_port is not None:
            await self._start(simulator_part(self._options, log=self._logs / CALLS_LOG))
        if port is not None:
            broker = await asyncio.to_thread(prepare_broker, settings.data / "kafka", port=port, say=self._say)
            await self._start(kafka_part(broker.command))
        answering = wait_until_answering(settings)
        await self._wait_for(answering, seconds=_KAFKA_SECONDS, problem=f"Kafka at {settings.kafka} did not answer")
        try:
            await create_topics(settings)
        except TopicsError as error:
            raise StackError(str(error)) from error

    async def _start_roles(self) -> None:
        parts = role_parts(self._options)
        await asyncio.gather(*(self._start(part) for part in parts))
        judged = [part.name for part in parts if part.role != "web"]
        ready = wait_until_ready(
            self._options.settings,
            self._options.url,
            lambda: {name: self._children[name].pid for name in judged},
        )
        await self._wait_for(ready, seconds=_ROLES_SECONDS, problem="Not every part was ready")

    async def _start(self, part: Part) -> None:
        child = Child(part, log=self._logs / f"{part.name}.log", say=self._say, on_start=self._note_start)
        self._children[part.name] = child
        await child.start()

    def _note_start(self, part: Part, pid: int) -> None:
        self._run.write_pid(part.name, pid)
        if self._is_ready:
            self._write_ready()

    def _write_ready(self) -> None:
        pids = {name: child.pid for name, child in self._children.items()}
        alive = {name: pid for name, pid in pids.items() if pid is not None}
        self._run.write_ready(Ready(self._options.url, self._options.settings.kafka, alive))

    async def _wait_for(self, condition: Coroutine[None, None, None], *, seconds: float, problem: str) -> None:
        """Raises StackError when the condition is not met in time, or a part dies again and again meanwhile."""
        met, failing = asyncio.create_task(condition), asyncio.create_task(self._first_to_fail())
        try:
            await asyncio.wait({met, failing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                raise StackError(_dying(failing.result()))
            if not met.done():
                raise StackError(f"{problem} within {seconds:.0f} s: the logs in {self._logs} say why.")
            met.result()
        finally:
            met.cancel()
            failing.cancel()
            await asyncio.gather(met, failing, return_exceptions=True)

    async def _first_to_fail(self) -> Child:
        while True:
            for child in self._children.values():
                if child.deaths >= _DEATHS_AT_START:
                    return child
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _stop(self) -> None:
        for roles in STOP_ORDER:
            await asyncio.gather(*(self._stop_one(child) for child in self._of(roles)))

    async def _stop_one(self, child: Child) -> None:
        await child.stop(grace_seconds=_GRACE_SECONDS)
        self._run.remove_pid(child.part.name)

    def _of(self, roles: Iterable[str]) -> list[Child]:
        return [child for child in self._children.values() if child.part.role in roles]

    def _kill_all(self) -> None:
        for child in self._children.values():
            child.kill()


def _dying(child: Child) -> str:
    text = child.log.read_text(encoding="utf-8", errors="replace").strip()
    last_words = text.splitlines()[-1] if text else "nothing"
    return (
        f"{child.part.name} ended {child.deaths} times before the stack was ready; "
        f"the last line of {child.log} is: {last_words}"
    )
