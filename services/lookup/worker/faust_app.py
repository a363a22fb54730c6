"""Builds the Faust app with settings that lose no record, and refuses a Faust without its compiled modules."""

from pathlib import Path
from typing import Any

import faust
from faust import streams
from faust.transport import conductor

from schemas import groups
from schemas.settings import Settings
from schemas.topics import Topic
from services.lookup.worker.partition_batches import BatchScheduler, deliver_partition_batches
from services.runtime.kafka import faust_options, group_name, topic_name
from services.runtime.process import RefusedToStart


def refuse_without_compiled_faust() -> None:
    """Raises RefusedToStart if Faust runs as pure Python, because that code acknowledges events that it skips."""
    compiled: tuple[Any, ...] = (vars(streams)["_CStreamIterator"], vars(conductor)["ConductorHandler"])
    if None in compiled:
        raise RefusedToStart(
            "Faust's compiled modules are missing: install faust-streaming from a wheel and leave NO_CYTHON unset."
        )


def build_app(settings: Settings, *, folder: Path) -> faust.App:
    """The app, without agents and tables. Its RocksDB data live in `folder`."""
    app = faust.App(
        group_name(groups.WORKER, settings),
        **faust_options(settings),
        datadir=folder,
        store="rocksdb://",
        autodiscover=False,
        web_enabled=False,
        processing_guarantee="at_least_once",
        broker_rebalance_timeout=30,
        broker_request_timeout=40,
        broker_commit_interval=1,
        broker_max_poll_interval=1e7,
        broker_max_poll_records=1_000,
        stream_wait_empty=True,
        stream_publish_on_commit=False,
        producer_request_timeout=30,
        producer_linger=0.02,
        table_standby_replicas=1,
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_replication_factor=settings.replication_factor,
        topic_partitions=settings.partitions,
        ConsumerScheduler=BatchScheduler,
    )
    deliver_partition_batches(app)
    return app


def source_topic(app: faust.App, topic: Topic, settings: Settings) -> Any:
    """A topic without decoding: on a decode error, Faust would acknowledge records that no agent has seen."""
    return app.topic(
        topic_name(topic, settings),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
    )
