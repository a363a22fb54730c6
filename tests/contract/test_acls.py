"""The rights on Kafka are those that the roles' work needs, and other systems get no more than three topics."""

from pathlib import Path

import pytest

from deploy.acls import LISTENER, PRODUCER, Right, rights, script
from schemas.roles import ROLES
from schemas.settings import Settings
from schemas.topics import TOPICS, Topic

CHECKOUT = Path(__file__).parents[2]
SETTINGS = Settings(topic_prefix="")
RIGHTS = rights(SETTINGS)


def of(principal: str, operation: str, resource: str = "topic") -> set[str]:
    return {
        right.name
        for right in RIGHTS
        if (right.principal, right.operation, right.resource) == (principal, operation, resource)
    }


def test_other_systems_write_two_topics_and_read_one() -> None:
    assert of(PRODUCER, "Write") == {"upload-events", "upload-rows"}
    assert of(LISTENER, "Read") == {"upload-completions"}
    others = [right for right in RIGHTS if right.principal in (PRODUCER, LISTENER)]
    assert len(others) == 4
    assert {right.name for right in others if right.resource == "group"} == {"listener-"}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_only_writers_write(topic: Topic) -> None:
    for role in ROLES:
        if role.name != "status":
            writes = role.name in topic.writers or "every role" in topic.writers
            assert (topic.name in of(role.name, "Write")) == writes


def test_each_group_has_one_kind_of_member() -> None:
    members = {role.group: role.name for role in ROLES if role.group is not None}
    assert len(members) == len([role for role in ROLES if role.group is not None])
    for group, role in members.items():
        assert [right.principal for right in RIGHTS if (right.name, right.operation) == (group, "Read")] == [role]


def test_operators_can_try_again_what_was_put_aside() -> None:
    assert "upload-rows" in of("status", "Write")
    assert "lookup-results" in of("status", "Write")
    assert "upload-files" not in of("status", "Write")


def test_names_follow_the_prefix_of_a_shared_cluster() -> None:
    prefixed = rights(Settings(topic_prefix="team."))
    assert all(right.name.startswith("team.") for right in prefixed)


def test_no_right_is_for_everything() -> None:
    topics_of_ours = {right for right in RIGHTS if right.name == "*"}
    assert {right.principal for right in topics_of_ours} == {"topics"}
    assert Right("topics", "Create", "topic", "*") in topics_of_ours


def test_the_script_beside_the_manifests_is_current() -> None:
    written = (CHECKOUT / "deploy" / "k8s" / "base" / "acls.sh").read_text(encoding="utf-8")
    assert written == script(SETTINGS), "run: python -m deploy.acls > deploy/k8s/base/acls.sh"
