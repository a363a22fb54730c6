"""The registry of commands: one decision per name, whatever way the command comes in."""

from datetime import UTC, datetime

import pytest

from schemas.uploads import UploadOptions, UploadState
from services.assembler.domain.commands import MOST_ROUNDS, CommandAccepted, CommandRefused, Target
from services.assembler.status.inputs import Nothing
from services.assembler.status.operations.upload_commands import (
    COMMANDS,
    OptionsBody,
    PriorityBody,
    RetryBody,
    StartBody,
)
from services.assembler.status.pages import uploads as upload_pages
from services.assembler.status.role import ENDPOINTS
from tests.fixtures.ids import upload_id

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
OPTIONS = UploadOptions(region="US", max_age_seconds=60)


def target(state: UploadState, *, rounds: int = 0, started: bool = True) -> Target:
    return Target(upload_id("u"), state, rounds, 3, started, OPTIONS)


@pytest.mark.parametrize(
    ("name", "given", "state", "events"),
    [
        ("start", StartBody(max_calls=5), "checked", ["start_upload"]),
        ("options", OptionsBody(region="GB"), "checked", ["set_options"]),
        ("pause", Nothing(), "in_progress", ["pause_upload"]),
        ("resume", Nothing(), "paused", ["resume_upload"]),
        ("cancel", Nothing(), "in_progress", ["cancel_upload"]),
        ("retry-failed", RetryBody(), "completed", ["retry_failed"]),
        ("priority", PriorityBody(priority=1), "in_progress", ["set_priority"]),
        ("delete", Nothing(), "in_progress", ["cancel_upload", "delete_upload"]),
    ],
)
def test_a_command_writes_its_events(name: str, given: Nothing, state: UploadState, events: list[str]) -> None:
    decision = COMMANDS[name].with_input(given)(target(state, started=state != "checked"), "ann", NOW)
    assert isinstance(decision, CommandAccepted)
    assert [event.type for event in decision.events] == events
    assert {(event.by, event.at) for event in decision.events} == {("ann", NOW)}


def test_options_that_are_not_given_stay_as_they_are() -> None:
    decision = COMMANDS["options"].with_input(OptionsBody(region="GB"))(target("checked", started=False), "ann", NOW)
    assert isinstance(decision, CommandAccepted)
    assert decision.events[0].model_dump()["options"] == OPTIONS.model_copy(update={"region": "GB"}).model_dump()


def test_only_a_forced_retry_exceeds_the_usual_number_of_rounds() -> None:
    retry, often = COMMANDS["retry-failed"], target("completed", rounds=MOST_ROUNDS)
    assert isinstance(retry.with_input(RetryBody(force=True))(often, "ann", NOW), CommandAccepted)
    assert isinstance(retry.with_input(RetryBody())(often, "ann", NOW), CommandRefused)


def test_every_endpoint_and_button_of_a_command_is_in_the_registry() -> None:
    prefix = "/v1/uploads/{upload_id}/"
    posted = {
        one.path.removeprefix(prefix) for one in ENDPOINTS if one.method == "POST" and one.path.startswith(prefix)
    }
    assert posted == COMMANDS.keys() - {"priority", "delete"} | {"reprocess"}
    for buttons in (upload_pages._BUTTONS, upload_pages._LIST_BUTTONS):
        assert all(isinstance(given, COMMANDS[name].body) for name, given in buttons.items())
