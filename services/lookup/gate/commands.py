"""Decides what an upload event changes: whether the upload has turns, its priority, its limit of calls. Pure."""

from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    PauseUpload,
    ResumeUpload,
    SetOptions,
    SetPriority,
    StartUpload,
    UploadEvent,
    UploadOpened,
)
from services.lookup.gate.controls import UploadControl, UploadControls
from services.lookup.gate.queue import LookupQueue


def apply_event(event: UploadEvent, controls: UploadControls, queue: LookupQueue, *, timestamp_ms: int) -> None:
    """Changes the upload's control, and its lane if it has one. The caller drops the requests of a withdrawn upload."""
    # Very old clients write records without a time (-1).
    at_ms = timestamp_ms if timestamp_ms >= 0 else int(event.at.timestamp() * 1000)
    control = controls.of_event(event.upload_id, at_ms)
    if isinstance(event, UploadOpened):
        if not control.is_opened:
            controls.opened(event.upload_id, control, at_ms)
            queue.set_opened(event.upload_id)
            control.is_started = event.options.start
            control.max_calls = event.options.max_calls
            _set_priority(queue, event.upload_id, control, event.options.priority)
    elif isinstance(event, StartUpload):
        if not control.is_started:
            control.is_started = True
            control.max_calls = control.max_calls if event.max_calls is None else event.max_calls
    elif isinstance(event, SetPriority):
        _set_priority(queue, event.upload_id, control, event.priority)
    elif isinstance(event, SetOptions):
        if not control.is_started:
            control.max_calls = event.options.max_calls
        _set_priority(queue, event.upload_id, control, event.options.priority)
    elif isinstance(event, PauseUpload | ResumeUpload):
        control.paused = isinstance(event, PauseUpload)
        # A withdrawn upload may still be in the queue, and must not get a turn there.
        if not control.withdrawn:
            queue.set_paused(event.upload_id, control.paused)
    elif isinstance(event, CancelUpload | DeleteUpload):
        control.withdrawn = True


def _set_priority(queue: LookupQueue, upload_id: str, control: UploadControl, priority: int) -> None:
    control.priority = priority
    queue.set_priority(upload_id, priority)
