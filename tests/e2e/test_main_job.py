"""The main job on the real processes, judged by the API's own log and the downloaded file."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect

from tests.e2e.files import assert_limit_held, assert_nothing_lost, phones, post, write_contacts
from tests.e2e.waiting import wait_until_finished
from tests.fixtures.stack import RunningStack

Frame = dict[str, Any]
FRAME_SECONDS = 60
CLOSE_SECONDS = 10


def test_each_distinct_phone_is_called_once_and_every_row_comes_back(stack: RunningStack, tmp_path: Path) -> None:
    distinct = phones(60, area=415)
    contacts = write_contacts(tmp_path / "contacts.csv", [distinct[index * 7 % 60] for index in range(600)])
    with stack.client() as client:
        upload = wait_until_finished(client, post(client, contacts))
        download = client.get(upload["links"]["result_csv"])
    results = assert_nothing_lost(contacts, download.text)
    calls = Counter(call.phone for call in stack.calls() if call.phone.startswith("+14155551"))
    assert calls == Counter(distinct)
    assert {result["scrub_status"] for result in results} == {"answered"}
    assert upload["counts"] == upload["counts"] | {"rows": 600, "answered": 600, "calls": 60, "duplicates": 540}
    assert upload["outcome"] == "success"
    assert_limit_held(stack.calls())


def test_a_file_over_known_phones_costs_nothing(stack: RunningStack, tmp_path: Path) -> None:
    contacts = write_contacts(tmp_path / "contacts.csv", phones(20, area=212))
    with stack.client() as client:
        wait_until_finished(client, post(client, contacts))
        before = len(stack.calls())
        again = wait_until_finished(client, post(client, contacts))
    assert again["counts"]["answered"] == 20
    assert again["counts"]["calls"] == 0
    assert again["plan"]["known"] == 20
    assert len(stack.calls()) == before


def test_two_uploads_at_once_that_share_half_their_phones_call_each_once(stack: RunningStack, tmp_path: Path) -> None:
    distinct = phones(60, area=312)
    one = write_contacts(tmp_path / "one.csv", distinct[:40])
    other = write_contacts(tmp_path / "other.csv", distinct[20:])
    with stack.client() as client:
        ids = [post(client, one), post(client, other)]
        uploads = [wait_until_finished(client, upload_id) for upload_id in ids]
    calls = Counter(call.phone for call in stack.calls() if call.phone.startswith("+13125551"))
    assert calls == Counter(distinct)
    assert sum(upload["counts"]["calls"] for upload in uploads) == 60
    assert [upload["counts"]["answered"] for upload in uploads] == [40, 40]


def test_a_stored_file_is_run_again_with_options_of_its_own(stack: RunningStack, tmp_path: Path) -> None:
    distinct = phones(10, area=702)
    contacts = write_contacts(tmp_path / "contacts.csv", distinct)
    with stack.client() as client:
        first = wait_until_finished(client, post(client, contacts))
        answer = client.post(f"/v1/uploads/{first['id']}/reprocess", json={"max_age_seconds": 0, "priority": 2})
        assert answer.status_code == 202, answer.text
        opened = answer.json()
        again = wait_until_finished(client, opened["id"])
        download = client.get(again["links"]["result_csv"])
    assert opened["state"] in {"pending", "checking", "in_progress"}
    assert (opened["operation"], opened["parent_id"], opened["priority"]) == ("reprocess", first["id"], 2)
    assert opened["sha256"] == first["sha256"]
    assert_nothing_lost(contacts, download.text)
    calls = Counter(call.phone for call in stack.calls() if call.phone.startswith("+17025551"))
    assert calls == Counter(distinct * 2), "an age of 0 asks for every phone anew, once"
    assert (first["counts"]["calls"], again["counts"]["calls"]) == (10, 10)


def test_rows_that_cannot_be_used_come_back_with_their_reason(stack: RunningStack, tmp_path: Path) -> None:
    contacts = tmp_path / "contacts.csv"
    contacts.write_text("name;phone\nAnn;(602) 555-1001\nBob;\nEve;call me\nKim;6.025551E+09\n", encoding="utf-8")
    with stack.client() as client:
        upload = wait_until_finished(client, post(client, contacts))
        rows = client.get(upload["links"]["rows"]).json()["items"]
        download = client.get(upload["links"]["result_csv"]).text
    assert [row["state"] for row in rows] == ["answered", "rejected", "rejected", "rejected"]
    assert [row["error"] and row["error"]["code"] for row in rows] == [None, "no_phone", "not_a_phone", "lost_digits"]
    assert [line.split(";")[:2] for line in download.splitlines()[1:]] == [
        ["Ann", "(602) 555-1001"],
        ["Bob", ""],
        ["Eve", "call me"],
        ["Kim", "6.025551E+09"],
    ]
    assert upload["outcome"] == "partial"


def frames_until(socket: ClientConnection, is_last: Callable[[Frame], bool]) -> list[Frame]:
    """The frames up to the first one that is the last."""
    frames: list[Frame] = []
    while not (frames and is_last(frames[-1])):
        frames.append(json.loads(socket.recv(timeout=FRAME_SECONDS)))
    return frames


def test_the_socket_tells_the_whole_story_and_closes(stack: RunningStack, tmp_path: Path) -> None:
    contacts = write_contacts(tmp_path / "contacts.csv", phones(15, area=480))
    with stack.client() as client:
        upload_id = post(client, contacts, start="false")
        address = stack.url.replace("http", "ws") + f"/v1/uploads/{upload_id}/events"
        # The stub wants its own string type.
        with connect(address, subprotocols=["scrub.v1"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "scrub.v1"
            frames = frames_until(
                socket, lambda frame: "checked" in (frame["data"].get("state"), frame["data"].get("to"))
            )
            # Rows that are answered before the snapshot would be in its counts and in no later frame.
            client.post(f"/v1/uploads/{upload_id}/start")
            frames += frames_until(socket, lambda frame: frame["type"] == "done")
            with pytest.raises(ConnectionClosedOK):
                socket.recv(timeout=CLOSE_SECONDS)
    kinds = [frame["type"] for frame in frames]
    assert kinds[:2] == ["hello", "snapshot"]
    assert kinds[-1] == "done"
    assert frames[-1]["data"]["state"] == "completed"
    seen = {row["row"] for frame in frames if frame["type"] == "rows" for row in frame["data"]["items"]}
    assert seen == set(range(1, 16))


def test_the_command_line_writes_the_scrubbed_file(stack: RunningStack, tmp_path: Path) -> None:
    contacts = write_contacts(tmp_path / "contacts.csv", phones(12, area=520))
    command = [sys.executable, "-m", "deploy.local", "scrub", str(contacts), "--url", stack.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert_nothing_lost(contacts, (tmp_path / "contacts.scrubbed.csv").read_text(encoding="utf-8"))
    assert "12 distinct" in done.stdout


def test_the_command_line_says_by_its_exit_code_that_rows_were_rejected(stack: RunningStack, tmp_path: Path) -> None:
    contacts = tmp_path / "contacts.csv"
    contacts.write_text("phone\n(928) 555-1001\n(928) 555-1002\nnobody\n", encoding="utf-8")
    command = [sys.executable, "-m", "deploy.local", "scrub", str(contacts), "--url", stack.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
