"""Runs the lookup worker, which sends a request for each row whose phone is not known yet.

Two Faust agents share the table `phones`. `remember` reads results and writes the table. `lookup` reads rows and sends
requests. An agent acknowledges a record only after Kafka has acknowledged everything that follows from it.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final

from schemas import topics
from schemas.settings import Settings
from schemas.topics import Topic
from services.lookup.worker.faust_app import build_app, refuse_without_compiled_faust, source_topic
from services.lookup.worker.inbox import Inbox
from services.lookup.worker.look_up import LookUp
from services.lookup.worker.outputs import Outputs
from services.lookup.worker.phones_table import PhonesTable
from services.lookup.worker.publishing import Publisher, publishing
from services.lookup.worker.read_progress import PATIENCE_SECONDS, ReadProgress
from services.lookup.worker.remember import Remember
from services.lookup.worker.table_folder import folder_of, locked_folder, wipe_data_of_other_cluster
from services.runtime.heartbeat import Heartbeat
from services.runtime.kafka import admin_client, topic_name
from services.runtime.process import EXIT_CRASHED

STOP_SECONDS: Final = 8.0
log = logging.getLogger("worker")


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Runs the worker until `stop` is set.

    Raises:
        RefusedToStart: Faust's compiled modules are missing, or the data folder cannot be used.
    """
    refuse_without_compiled_faust()
    with locked_folder(folder_of(settings)) as folder:
        if wipe_data_of_other_cluster(folder, await _cluster_id(settings)):
            log.warning("%s held the table of another Kafka cluster; removed it", folder)
        async with publishing(settings) as publisher:
            await Worker(settings, publisher, folder=folder).run(stop)


class Worker:
    """Composes the app, the table and the agents, and runs them."""

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        *,
        folder: Path,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._settings = settings
        self._publisher = publisher
        self._app = app = build_app(settings, folder=folder)
        self._progress = progress = ReadProgress(app, settings, patience_seconds=patience_seconds)
        phones = PhonesTable(app, publisher, settings)
        outputs = Outputs(publisher, settings)
        self._sign: Heartbeat | None = None
        remember = Remember(phones, outputs, progress)
        look_up = LookUp(phones, outputs, progress)
        results = topic_name(topics.LOOKUP_RESULTS, settings)
        self._results = Inbox(app, results, work=remember.work, done=progress.processed)
        rows = topic_name(topics.UPLOAD_ROWS, settings)
        self._rows = Inbox(app, rows, work=look_up.work, done=progress.processed, may_begin=progress.remembers_enough)
        self._add_agent("remember", topics.LOOKUP_RESULTS, self._results)
        self._add_agent("lookup", topics.UPLOAD_ROWS, self._rows)

    async def run(self, stop: asyncio.Event) -> None:
        """Starts the app and watches it until `stop` is set. Then stops it, waiting at most `STOP_SECONDS`."""
        async with Heartbeat(self._publisher, self._settings, role="worker", health=self._progress.health) as sign:
            self._sign = sign
            tasks = [
                asyncio.create_task(self._exit_on_error(self._app.start())),
                asyncio.create_task(self._exit_on_error(self._progress.watch())),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
            self._rows.stop()
            self._results.stop()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._app.stop()
        except TimeoutError:
            log.warning("Faust did not stop within %.0f s; leaving it, nothing is lost by that", STOP_SECONDS)
            os._exit(0)

    def _add_agent(self, name: str, topic: Topic, inbox: Inbox) -> None:
        """One agent for the topic, one event after the other; the process ends if anything escapes it."""

        async def agent(stream: Any) -> None:
            await self._exit_on_error(inbox.read(stream))

        source = source_topic(self._app, topic, self._settings)
        self._app.agent(source, name=name, concurrency=1)(agent)

    async def _exit_on_error(self, work: Awaitable[None]) -> None:
        """Ends the process if the work raises. Faust would acknowledge the records in progress, and continue."""
        try:
            await work
        except Exception as error:
            log.exception("ending, to be started again from the last commit")
            try:
                if self._sign is not None:
                    await self._sign.ending_by(error)
            finally:
                os._exit(EXIT_CRASHED)


async def _cluster_id(settings: Settings) -> str:
    async with admin_client(settings) as admin:
        return str((await admin.describe_cluster())["cluster_id"])
