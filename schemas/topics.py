"""Owns the topic registry: name, key, retention, writers and readers of each topic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from schemas import lookups, parts, rows, upload_events, uploads
from schemas.interface import Upload
from schemas.roles import RoleName

Writer = Literal[RoleName, "producers", "every role"]
"""`producers`: other systems that produce rows themselves."""
Reader = Literal[RoleName, "operators", "other systems"]
_DAY_MS = 24 * 60 * 60 * 1000
_AHEAD_MS = 60 * 60 * 1000
_SEGMENT_BYTES = 16 * 1024 * 1024
_SEGMENT_MS = 10 * 60 * 1000


@dataclass(frozen=True, slots=True)
class KeptDays:
    """Records are dropped after this many days; None: `SCRUB_KEEP_DAYS`."""

    days: int | None = None


@dataclass(frozen=True, slots=True)
class Compacted:
    """The newest record of each key stays; older ones stay at least `lag_days` after `SCRUB_KEEP_DAYS`, if given."""

    lag_days: int | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `partitions` None: `SCRUB_PARTITIONS`. No `messages`: raw bytes."""

    name: str
    key: str
    kept: KeptDays | Compacted
    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    messages: tuple[type[BaseModel], ...]
    partitions: int | None = None
    log_append_time: bool = False

    def config(self, *, keep_days: int) -> Mapping[str, str]:
        """Kafka's topic settings."""
        config = {
            "message.timestamp.type": "LogAppendTime" if self.log_append_time else "CreateTime",
            # Times in a record are bounded by its timestamp, so no producer may choose one of the future.
            "message.timestamp.after.max.ms": str(_AHEAD_MS),
        }
        if isinstance(self.kept, KeptDays):
            days = keep_days if self.kept.days is None else self.kept.days
            return config | {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}
        lag_days = 0 if self.kept.lag_days is None else keep_days + self.kept.lag_days
        return config | {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": str(lag_days * _DAY_MS),
            # Short segments and an eager cleaner keep replays short.
            "segment.bytes": str(_SEGMENT_BYTES),
            "segment.ms": str(_SEGMENT_MS),
            "min.cleanable.dirty.ratio": "0.1",
        }


_EVENTS: tuple[type[BaseModel], ...] = (
    upload_events.UploadOpened,
    upload_events.UploadChecking,
    upload_events.UploadChecked,
    upload_events.UploadRefused,
    upload_events.UploadFed,
    upload_events.StartUpload,
    upload_events.SetOptions,
    upload_events.PauseUpload,
    upload_events.ResumeUpload,
    upload_events.CancelUpload,
    upload_events.RetryFailed,
    upload_events.DismissFailed,
    upload_events.SetPriority,
    upload_events.DeleteUpload,
    upload_events.OperatorActed,
)

UPLOAD_FILES = Topic("upload-files", "upload id", KeptDays(), ("http",), ("feeder",), ())
UPLOAD_EVENTS = Topic(
    "upload-events",
    "upload id",
    KeptDays(),
    ("http", "feeder", "status", "producers"),
    ("feeder", "gate", "join", "http"),
    _EVENTS,
)
FEED_CHECKPOINTS = Topic(
    "feed-checkpoints", "upload id", Compacted(), ("feeder",), ("feeder",), (uploads.FeedCheckpoint,)
)
PLAN_QUESTIONS = Topic("plan-questions", "upload id", KeptDays(1), ("feeder",), ("join",), (uploads.PlanQuestion,))
UPLOAD_ROWS = Topic(
    "upload-rows",
    "phone",
    KeptDays(),
    ("feeder", "join", "worker", "producers"),
    ("worker", "join"),
    (rows.UploadRow,),
    log_append_time=True,
)
REJECTED_ROWS = Topic("rejected-rows", "upload id", KeptDays(), ("feeder",), ("join",), (rows.RejectedRow,))
BAD_RECORDS = Topic("bad-records", "none", KeptDays(), ("every role",), ("operators",), (rows.BadRecord,))
LOOKUP_REQUESTS = Topic(
    "lookup-requests",
    "phone:upload:round",
    Compacted(),
    ("worker", "gate"),
    ("gate",),
    (lookups.LookupRequest,),
    partitions=1,
)
LOOKUP_RETRIES = Topic(
    "lookup-retries", "phone", Compacted(), ("gate",), ("gate",), (lookups.LookupRetry,), partitions=1
)
LOOKUP_DEAD_LETTERS = Topic(
    "lookup-dead-letters", "phone", KeptDays(), ("gate",), ("operators", "status"), (lookups.DeadLetter,)
)
LOOKUP_RESULTS = Topic(
    "lookup-results",
    "phone; a failure phone|failed, on the phone's partition",
    Compacted(lag_days=1),
    ("gate", "status"),
    ("worker", "join", "gate"),
    (lookups.LookupResult,),
)
LOOKUP_STATUS = Topic(
    "lookup-status",
    "gate partition",
    Compacted(),
    ("gate",),
    ("status", "join", "gate"),
    (lookups.LookupStatus,),
    partitions=1,
)
LOOKUP_COMMANDS = Topic(
    "lookup-commands", "lookups", Compacted(), ("status",), ("gate",), (lookups.LookupCommand,), partitions=1
)
UPLOAD_PROGRESS = Topic(
    "upload-progress", "upload id", Compacted(), ("join",), ("status", "feeder", "http"), (uploads.UploadProgress,)
)
UPLOAD_COMPLETIONS = Topic(
    "upload-completions", "upload id", KeptDays(), ("join",), ("status", "join", "other systems"), (Upload,)
)
PART_STATUS = Topic(
    "part-status",
    "role-instance",
    Compacted(),
    ("every role",),
    ("status", "http", "feeder", "worker", "gate", "join"),
    (parts.PartStatus,),
    partitions=1,
)
LOOKUP_PHONES_CHANGELOG = Topic("lookup-phones-changelog", "phone", Compacted(), ("worker",), ("worker",), ())
"""Faust's name for the changelog of table `phones` of the app `lookup`."""

TOPICS: tuple[Topic, ...] = (
    UPLOAD_FILES,
    UPLOAD_EVENTS,
    FEED_CHECKPOINTS,
    PLAN_QUESTIONS,
    UPLOAD_ROWS,
    REJECTED_ROWS,
    BAD_RECORDS,
    LOOKUP_REQUESTS,
    LOOKUP_RETRIES,
    LOOKUP_DEAD_LETTERS,
    LOOKUP_RESULTS,
    LOOKUP_STATUS,
    LOOKUP_COMMANDS,
    UPLOAD_PROGRESS,
    UPLOAD_COMPLETIONS,
    PART_STATUS,
    LOOKUP_PHONES_CHANGELOG,
)
