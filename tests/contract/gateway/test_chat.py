"""Chat completions by the stock OpenAI client."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from fakes.orchestrator import (
    CREATED_S,
    Cut,
    FakeOrchestrator,
    answer,
    done,
    failed,
    restarted,
    token,
)
from flotilla.common.v1 import message_pb2 as common
from flotilla.orchestrator.v1 import run_pb2 as runs
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]
THREAD = "0197c111-0000-7000-8000-000000000001"
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather.", "parameters": {"type": "object", "properties": {}}},
}


async def read_into(shown: list[str], client: AsyncOpenAI) -> None:
    """Streams a chat and keeps the text that came, also when it fails."""
    async for chunk in await client.chat.completions.create(model="assistant", messages=ASK, stream=True):
        shown += [chunk.choices[0].delta.content or ""]


async def test_answer_is_the_runs(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="assistant", messages=ASK)
    reply = raw.parse()

    run_id = orchestrator.starts[0].run_id
    assert reply.choices[0].message.content == "Hello from Flotilla."
    assert reply.choices[0].finish_reason == "stop"
    assert reply.choices[0].message.tool_calls is None
    assert (reply.id, reply.created, reply.model) == (f"chatcmpl-{run_id}", CREATED_S, "assistant")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (7, 4, 11)
    assert raw.headers["x-run-id"] == run_id
    assert raw.headers["x-thread-id"]


async def test_stream_gives_role_text_finish_and_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="assistant", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == "Hello from Flotilla."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 11
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


async def test_inner_steps_are_not_shown(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    orchestrator.script = lambda _: [token("thinking", message_id="m-0", is_answer=False), *answer("Done.")]

    stream = await client.chat.completions.create(model="assistant", messages=ASK, stream=True)

    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Done."


async def test_all_honoured_fields_reach_the_run(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    await client.chat.completions.create(
        model="assistant",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]},
        ],
        temperature=0.25,
        top_p=0.5,
        max_completion_tokens=99,
        stop="END",
        seed=7,
        parallel_tool_calls=False,
        tools=[WEATHER],
        tool_choice="required",
        response_format={"type": "json_object"},
        metadata={"team": "blue"},
    )

    request = orchestrator.starts[0]
    options = request.options
    assert options.instructions == "Be brief.\n\nBe kind."
    assert [(message.role, message.content) for message in request.input.messages] == [
        (common.MESSAGE_ROLE_HUMAN, "Hello")
    ]
    assert (options.temperature, options.top_p, options.max_output_tokens, options.seed) == (0.25, 0.5, 99, 7)
    assert list(options.stop) == ["END"]
    assert options.parallel_tool_calls is False
    assert [tool.name for tool in options.caller_tools] == ["get_weather"]
    assert options.tool_choice_json == b'"required"'
    assert options.response_format_json == b'{"type":"json_object"}'
    assert request.metadata_json == b'{"team":"blue"}'
    assert (request.wire, len(request.body_hash)) == ("openai", 32)
    assert request.thread.ephemeral


async def test_unset_options_are_unset(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    await client.chat.completions.create(model="assistant", messages=ASK)

    options = orchestrator.starts[0].options
    assert not any(options.HasField(name) for name in ("temperature", "top_p", "max_output_tokens", "seed"))


@pytest.mark.parametrize("stream", [False, True])
async def test_callers_tool_calls_end_the_turn(
    client: AsyncOpenAI, orchestrator: FakeOrchestrator, stream: bool
) -> None:
    call = common.ToolCall(id="call_" + "a" * 32 + "_1", name="get_weather", arguments_json=b'{"city":"Paris"}')
    orchestrator.script = lambda _: [done(calls=[call], reason=runs.FINISH_REASON_TOOL_CALLS)]

    if stream:
        chunks = await client.chat.completions.create(model="assistant", messages=ASK, tools=[WEATHER], stream=True)
        choices = [chunk.choices[0] async for chunk in chunks]
        made: Any = next(choice.delta.tool_calls for choice in choices if choice.delta.tool_calls)
        finish: str | None = choices[-1].finish_reason
    else:
        reply = await client.chat.completions.create(model="assistant", messages=ASK, tools=[WEATHER])
        made, finish = reply.choices[0].message.tool_calls, reply.choices[0].finish_reason
        assert reply.choices[0].message.content is None

    assert finish == "tool_calls"
    assert [(item.id, item.function.name, item.function.arguments) for item in made] == [
        (call.id, "get_weather", '{"city":"Paris"}')
    ]


async def test_on_a_thread_only_what_is_new_is_sent(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    history: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]

    raw = await client.chat.completions.with_raw_response.create(
        model="assistant", messages=history, metadata={"thread_id": THREAD}
    )

    request = orchestrator.starts[0]
    assert (request.thread.thread_id, request.thread.create_if_missing) == (THREAD, True)
    assert [message.content for message in request.input.messages] == ["three"]
    assert request.metadata_json == b""
    assert raw.headers["x-thread-id"] == THREAD


async def test_thread_by_header_and_by_any_name_is_stable(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    for _ in range(2):
        await client.chat.completions.create(
            model="assistant", messages=ASK, extra_headers={"X-Thread-Id": "chat 42 of ann"}
        )

    first, second = (request.thread.thread_id for request in orchestrator.starts)
    assert first == second
    assert len(first) == 36


async def test_stateless_answer_to_a_minted_call_finds_its_run(
    client: AsyncOpenAI, orchestrator: FakeOrchestrator
) -> None:
    call_id = "call_" + "b" * 32 + "_1"
    messages: Any = [
        *ASK,
        {
            "role": "assistant",
            "tool_calls": [{"id": call_id, "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": call_id, "content": "sunny"},
    ]

    await client.chat.completions.create(model="assistant", messages=messages, tools=[WEATHER])

    request = orchestrator.starts[0]
    assert request.thread.answered_tool_call_id == call_id
    assert [(message.tool_call_id, message.content) for message in request.input.messages] == [(call_id, "sunny")]


@pytest.mark.parametrize("stream", [False, True])
async def test_broken_streams_are_mended_unseen(
    client: AsyncOpenAI, orchestrator: FakeOrchestrator, stream: bool
) -> None:
    orchestrator.start_cuts = 5
    orchestrator.script = lambda _: [token("a"), Cut(), token("b"), token("c"), Cut(), token("d"), Cut(), done("abcd")]

    if stream:
        chunks = await client.chat.completions.create(model="assistant", messages=ASK, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
    else:
        text = (await client.chat.completions.create(model="assistant", messages=ASK)).choices[0].message.content or ""

    assert text == "abcd"
    assert len({request.run_id for request in orchestrator.starts}) == 1
    assert [watch.after_sequence for watch in orchestrator.watches] == [2, 4, 5]


async def test_restarted_reply_ends_a_stream_that_showed_text(
    client: AsyncOpenAI, orchestrator: FakeOrchestrator
) -> None:
    orchestrator.script = lambda _: [token("old"), restarted("m-1"), token("new"), done("new")]
    shown: list[str] = []

    with pytest.raises(openai.APIError) as caught:
        await read_into(shown, client)

    assert caught.value.code == "reply_restarted"
    assert "".join(shown) in ("", "old")
    assert not orchestrator.last.cancelled.is_set()


async def test_restarted_reply_is_unseen_in_a_whole_answer(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    orchestrator.script = lambda _: [token("old"), restarted("m-1"), token("new"), done("new")]

    reply = await client.chat.completions.create(model="assistant", messages=ASK)

    assert reply.choices[0].message.content == "new"


async def test_restart_of_an_inner_step_is_unseen(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    orchestrator.script = lambda _: [token("x", message_id="m-0", is_answer=False), restarted("m-0"), *answer("Yes.")]

    stream = await client.chat.completions.create(model="assistant", messages=ASK, stream=True)

    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Yes."


@pytest.mark.parametrize(
    ("error_class", "run_status", "http"),
    [
        (runs.ERROR_CLASS_RETRYABLE, runs.RUN_STATUS_FAILED, 503),
        (runs.ERROR_CLASS_BUDGET, runs.RUN_STATUS_FAILED, 429),
        (runs.ERROR_CLASS_POLICY, runs.RUN_STATUS_FAILED, 403),
        (runs.ERROR_CLASS_PERMANENT, runs.RUN_STATUS_FAILED, 500),
        (runs.ERROR_CLASS_PERMANENT, runs.RUN_STATUS_TIMED_OUT, 504),
        (runs.ERROR_CLASS_PERMANENT, runs.RUN_STATUS_CANCELLED, 499),
    ],
)
async def test_failed_run_is_an_error_that_nobody_repeats(
    client: AsyncOpenAI,
    orchestrator: FakeOrchestrator,
    error_class: runs.ErrorClass.ValueType,
    run_status: runs.RunStatus.ValueType,
    http: int,
) -> None:
    orchestrator.script = lambda _: [failed("some_reason", error_class=error_class, status=run_status)]

    with pytest.raises(openai.APIStatusError) as caught:
        await client.with_options(max_retries=2).chat.completions.create(model="assistant", messages=ASK)

    assert (caught.value.status_code, caught.value.code) == (http, "some_reason")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.headers["x-run-id"] == orchestrator.starts[0].run_id
    assert len(orchestrator.starts) == 1


async def test_failure_after_the_first_byte_is_a_chunk(client: AsyncOpenAI, orchestrator: FakeOrchestrator) -> None:
    orchestrator.script = lambda _: [token("Hel"), failed("model_unavailable")]

    with pytest.raises(openai.APIError) as caught:
        await read_into([], client)

    assert caught.value.code == "model_unavailable"
