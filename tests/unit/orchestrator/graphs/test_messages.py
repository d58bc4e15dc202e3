from __future__ import annotations

from flotilla_orchestrator.graphs.messages import add_messages
from flotilla_orchestrator.model import MessageDict
from hypothesis import given
from hypothesis import strategies as st

IDS = st.sampled_from(["a", "b", "c", "d", "e"])
MESSAGES = st.builds(
    lambda id_, text: MessageDict(id=id_, type="ai", content=text) if id_ else MessageDict(type="ai", content=text),
    st.none() | IDS,
    st.text(max_size=3),
)
UNIQUE = st.lists(MESSAGES, max_size=8, unique_by=lambda message: message.get("id") or id(message))


@given(UNIQUE, UNIQUE)
def test_add_messages_replaces_by_id_and_appends_the_rest(left: list[MessageDict], right: list[MessageDict]) -> None:
    merged = add_messages(left, right)

    known = {message["id"] for message in left if "id" in message}
    replacements = {message["id"]: message for message in right if "id" in message}
    expected = [replacements.get(message.get("id", ""), message) for message in left]
    expected += [message for message in right if message.get("id") not in known]
    assert merged == expected


@given(UNIQUE, UNIQUE)
def test_add_messages_is_idempotent_for_messages_with_ids(left: list[MessageDict], right: list[MessageDict]) -> None:
    right = [message for message in right if "id" in message]

    once = add_messages(left, right)

    assert add_messages(once, right) == once


@given(UNIQUE, UNIQUE)
def test_add_messages_changes_neither_side(left: list[MessageDict], right: list[MessageDict]) -> None:
    before = ([dict(message) for message in left], [dict(message) for message in right])

    add_messages(left, right)

    assert before == ([dict(message) for message in left], [dict(message) for message in right])


def test_add_messages_keeps_the_last_of_twins_within_one_update() -> None:
    twins = [MessageDict(id="a", type="ai", content="1"), MessageDict(id="a", type="ai", content="2")]

    assert add_messages(None, twins) == [twins[1]]
