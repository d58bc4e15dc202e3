from datetime import UTC, datetime

import pytest
from flotilla_cli.failure import CommandError
from flotilla_cli.release.choice import choose_target, find_revision, refuse_pending, repair
from flotilla_cli.release.model import Revision
from flotilla_cli.release.target import Target
from flotilla_cli.release.values import image_tag

TARGET = Target("flotilla", "flotilla")


def _history(*entries: str) -> list[Revision]:
    """Makes a history of entries such as "deployed: Rollback to 1"."""
    made = []
    for number, entry in enumerate(entries, 1):
        status, _, description = entry.partition(": ")
        made.append(Revision(number, datetime(2026, 1, 1, tzinfo=UTC), status, "flotilla-0.1.0", "0.1.0", description))
    return made


@pytest.mark.parametrize(
    ("entries", "chosen"),
    [
        (["superseded", "deployed"], 1),
        (["superseded", "superseded", "deployed"], 2),
        (["superseded", "failed", "superseded", "failed", "deployed"], 3),
        (["superseded", "superseded", "deployed: Rollback to 1"], 2),
        (["superseded", "superseded", "failed", "deployed: Rollback to 2"], 1),
        (["superseded", "superseded", "superseded: Rollback to 1", "deployed: Rollback to 2"], 3),
        (["deployed", "failed"], 1),
        (["superseded", "deployed", "pending-upgrade"], 2),
        (["superseded", "deployed", "pending-rollback: Rollback to 1"], 2),
        (["superseded", "deployed", 'superseded: Upgrade "flotilla" failed: no', "failed"], 2),
        (["superseded", "failed", "superseded: Rollback to 2", "failed"], 1),
    ],
)
def test_rollback_goes_to_the_last_revision_that_ran_and_is_another(entries: list[str], chosen: int) -> None:
    found = choose_target(_history(*entries))

    assert found is not None
    assert found.number == chosen


@pytest.mark.parametrize(
    "entries",
    [["deployed"], ["pending-install"], ["superseded", "failed", "deployed: Rollback to 1"], ["failed", "deployed"]],
)
def test_there_is_nothing_to_go_back_to(entries: list[str]) -> None:
    assert choose_target(_history(*entries)) is None


def test_a_copy_of_a_revision_that_history_has_dropped_is_known_by_its_number() -> None:
    history = _history("superseded", "superseded", "superseded: Rollback to 2", "deployed: Rollback to 2")[2:]

    assert choose_target(history) is None


def test_an_unknown_revision_names_the_known_ones() -> None:
    with pytest.raises(CommandError) as caught:
        find_revision(_history("superseded", "deployed"), 7)

    assert "1, 2" in caught.value.hint


def test_a_pending_upgrade_is_repaired_by_the_revision_that_runs() -> None:
    assert repair(_history("superseded", "deployed", "pending-upgrade"), TARGET) == "flotilla rollback 2"


def test_a_repair_names_what_is_not_the_default() -> None:
    target = Target("red", "team a", "prod")

    command = repair(_history("deployed", "pending-upgrade"), target)

    assert command == "flotilla rollback 1 --release red --namespace 'team a' --context prod"


def test_an_install_that_never_ended_is_repaired_by_uninstalling() -> None:
    assert repair(_history("pending-install"), TARGET) == "helm uninstall flotilla --namespace flotilla"


def test_a_deployed_release_needs_no_repair() -> None:
    assert repair(_history("superseded", "deployed"), TARGET) == ""


def test_a_pending_release_is_not_touched() -> None:
    with pytest.raises(CommandError, match=r"revision 2 is pending-upgrade since 2026-01-01") as caught:
        refuse_pending(_history("deployed", "pending-upgrade"), TARGET)

    assert "flotilla rollback 1" in caught.value.hint


@pytest.mark.parametrize(
    ("values", "tag"),
    [
        ({}, "0.1.0"),
        ({"image": {"tag": "v2"}}, "v2"),
        ({"image": {"tag": "v2"}, "rollout": {"colors": {"blue": {"image": {"tag": "v3"}}}}}, "v3"),
        ({"rollout": {"active": "green", "colors": {"blue": {"image": {"tag": "v3"}}}}}, "0.1.0"),
        ({"image": None, "rollout": None}, "0.1.0"),
    ],
)
def test_image_tag_is_the_one_that_answers(values: dict[str, object], tag: str) -> None:
    assert image_tag(values, "0.1.0") == tag
