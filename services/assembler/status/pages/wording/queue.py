"""Decides what the pages say about the queue, the gate and the calls that failed; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.interface import Queue
from schemas.lookups import GateState
from services.assembler.status.pages.wording.formatting import limit_in_words, plural


@dataclass(frozen=True, slots=True)
class GateWords:
    """What people read in a state of the gate. `advice`: what operators should know or do; empty: nothing."""

    state: str
    advice: str = ""


GATE_STATES: Final[Mapping[GateState, GateWords]] = {
    "running": GateWords("Calls are being made"),
    "paused": GateWords(
        "All calls are paused", "An operator paused them. Nothing is lost; rows wait until calls are resumed."
    ),
    "account_problem": GateWords(
        "The lookup service refuses our account",
        "Check the key (SCRUB_LOOKUP_KEY) and the account's credit. The gate retries once a minute and gives up no row "
        "meanwhile.",
    ),
    "provider_down": GateWords(
        "The lookup service does not answer", "The gate retries once a minute and gives up no row meanwhile."
    ),
    "throttled": GateWords(
        "Slowed down by the lookup service", "The service asked for fewer calls. The pace recovers step by step."
    ),
    "no_gate": GateWords(
        "No calls: the gate is not running", "Calls resume when a gate starts. Kafka keeps all waiting phones."
    ),
}
_MOVING: Final = frozenset({"running", "throttled"})
_GIVEN_UP: Final[Mapping[str, str]] = {
    "garbage": "The lookup service's answer could not be read",
    "no_connection": "The connection to the lookup service broke off",
    "throttled": "The lookup service asked us to slow down",
    "timeout": "The lookup service did not answer in time",
    "too_large": "The lookup service's answer was far too long",
    "max_calls": "The upload reached its limit of calls",
}


def gate_words(state: GateState) -> GateWords:
    """The words for a state; the state itself when a newer version wrote it."""
    return GATE_STATES.get(state, GateWords(state))


def queue_words(queue: Queue) -> str:
    """The strip at the top of every page: whether calls are made, and how many phones wait."""
    waiting = queue.pending + queue.in_progress
    if queue.state not in _MOVING:
        return gate_words(queue.state).state + (f" · {plural(waiting, 'phone')} waiting" if waiting else "")
    if not waiting:
        return "Nothing is waiting"
    if queue.uploads and all(one.why is not None and one.why.code == "paused" for one in queue.uploads):
        return f"{plural(waiting, 'phone')} waiting in paused uploads"
    pace = f"{queue.used_last_window} of {limit_in_words(queue.limit.calls, queue.limit.window_seconds)}"
    slowed = ", slowed down by the lookup service" if queue.state == "throttled" else ""
    return f"{pace}{slowed} · {plural(waiting, 'phone')} waiting"


def queue_tone(queue: Queue) -> str:
    if queue.state == "running":
        return "busy" if queue.pending or queue.in_progress else "good"
    return "ask" if queue.state in ("paused", "throttled") else "bad"


def reason_words(code: str) -> str:
    """Why phones were given up. An HTTP status keeps its number: operators search for it."""
    if code.startswith("http_"):
        return f"The lookup service answered with an error ({code.removeprefix('http_')})"
    return _GIVEN_UP.get(code, code or "Unknown")
