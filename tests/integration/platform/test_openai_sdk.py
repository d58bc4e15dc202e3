"""The stock OpenAI client against the whole platform."""

from __future__ import annotations

import time
from uuid import uuid4

import openai
import pytest
from fakes.running_platform import RunningPlatform
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(text: str) -> list[ChatCompletionMessageParam]:
    """Returns a conversation of one question."""
    return [{"role": "user", "content": text}]


def test_models_lists_the_agents_in_the_box(client: OpenAI) -> None:
    assert {"assistant", "research", "support"} <= {model.id for model in client.models.list()}


def test_chat_answers_by_the_calculator(client: OpenAI) -> None:
    reply = client.chat.completions.create(model="assistant", messages=ask("What is 17 % of 2,349?"))

    assert "399.33" in (reply.choices[0].message.content or "")
    assert reply.choices[0].finish_reason == "stop"
    assert reply.choices[0].message.tool_calls is None
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0


def test_stream_sends_the_first_token_before_the_model_has_finished(client: OpenAI) -> None:
    question = ask("[[dev: delay_ms=50]] Count from 1 to 60.")
    stream = client.chat.completions.create(
        model="assistant", messages=question, stream=True, stream_options={"include_usage": True}
    )

    started, first_s, text, usage = time.monotonic(), 0.0, "", None
    for chunk in stream:
        usage = chunk.usage or usage
        if chunk.choices and chunk.choices[0].delta.content:
            first_s = first_s or time.monotonic() - started
            text += chunk.choices[0].delta.content
    total_s = time.monotonic() - started

    assert text.split() == [str(number) for number in range(1, 61)]
    assert first_s < total_s / 2
    assert usage is not None
    assert usage.completion_tokens > 0


@pytest.mark.parametrize("agent", ["assistant", "research", "support"])
def test_every_agent_in_the_box_answers_keyless(client: OpenAI, agent: str) -> None:
    reply = client.chat.completions.create(model=agent, messages=ask("How do I reset my password?"))

    assert (reply.choices[0].message.content or "").strip()


def test_callers_tool_round_trip_without_a_thread(client: OpenAI) -> None:
    messages = ask("What is the weather in Paris?")
    first = client.chat.completions.create(model="assistant", messages=messages, tools=[WEATHER])
    calls = first.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == ["get_weather"]
    assert first.choices[0].finish_reason == "tool_calls"

    answered: list[ChatCompletionMessageParam] = [
        *messages,
        {"role": "assistant", "tool_calls": [call.model_dump() for call in calls]},  # type: ignore[misc]  # the SDK's own dump
        {"role": "tool", "tool_call_id": calls[0].id, "content": "21 degrees and sunny"},
    ]
    second = client.chat.completions.create(model="assistant", messages=answered, tools=[WEATHER])

    assert "21 degrees" in (second.choices[0].message.content or "")


def test_callers_tool_round_trip_on_a_thread(client: OpenAI) -> None:
    on_thread = {"thread_id": str(uuid4())}
    messages = ask("What is the weather in Paris?")
    first = client.chat.completions.create(model="assistant", messages=messages, tools=[WEATHER], metadata=on_thread)
    call = (first.choices[0].message.tool_calls or [])[0]

    result: list[ChatCompletionMessageParam] = [{"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}]
    second = client.chat.completions.create(model="assistant", messages=result, tools=[WEATHER], metadata=on_thread)

    assert "21 degrees" in (second.choices[0].message.content or "")


def test_tool_message_for_an_unknown_call_is_refused(client: OpenAI) -> None:
    result: list[ChatCompletionMessageParam] = [{"role": "tool", "tool_call_id": "call_nothing", "content": "x"}]

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="assistant", messages=result, metadata={"thread_id": str(uuid4())})

    assert caught.value.param is not None
    assert "messages" in caught.value.param


def test_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=ask("hi"))


def test_bad_key_is_refused(platform: RunningPlatform) -> None:
    stranger = OpenAI(base_url=f"{platform.url()}/v1", api_key="fl_wrong")

    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_bad_body_names_the_field(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="assistant", messages=ask("hi"), temperature="hot")  # type: ignore[call-overload]  # wrong on purpose

    assert caught.value.param == "temperature"


def test_same_idempotency_key_is_one_run_and_another_body_is_refused(client: OpenAI) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    replies = [
        client.chat.completions.with_raw_response.create(
            model="assistant", messages=ask("Say something."), extra_headers=headers
        )
        for _ in range(2)
    ]

    assert replies[0].headers["X-Run-Id"] == replies[1].headers["X-Run-Id"]
    assert replies[0].parse().choices == replies[1].parse().choices
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="assistant", messages=ask("Something else."), extra_headers=headers)
    assert caught.value.code == "idempotency_key_reused"


def test_embeddings_place_similar_texts_near_each_other(client: OpenAI) -> None:
    texts = ["the cat sat on the mat", "a cat is sitting on a mat", "quarterly revenue rose by five percent"]
    cat, kitten, revenue = (item.embedding for item in client.embeddings.create(model="embedding", input=texts).data)

    def likeness(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert likeness(cat, kitten) > likeness(cat, revenue)
