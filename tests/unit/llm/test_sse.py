from itertools import pairwise

import pytest
from flotilla_common.errors import UnavailableError
from flotilla_llm.openai_wire import sse
from hypothesis import given
from hypothesis import strategies as st

STREAM = b': comment\n\ndata: {"a":1}\n\nevent: x\ndata:{"b":2}\n\ndata: 3\ndata: 4\n\ndata: [DONE]\n\n'
EVENTS = [b'{"a":1}', b'{"b":2}', b"3\n4", b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_the_same_however_the_stream_is_cut(cuts: list[int], line_end: bytes) -> None:
    stream = STREAM.replace(b"\n", line_end)
    edges = [0, *sorted(cuts), len(stream)]
    parser = sse.EventParser()

    events = [event for low, high in pairwise(edges) for event in parser.feed(stream[low:high])]

    assert events + parser.finish() == EVENTS


def test_finish_returns_an_event_without_its_blank_line() -> None:
    parser = sse.EventParser()

    assert parser.feed(b"data: last\n") == []
    assert parser.finish() == [b"last"]


def test_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10)

    with pytest.raises(UnavailableError) as caught:
        sse.EventParser().feed(b"data: 0123456789")

    assert caught.value.reason == "model_bad_reply"
