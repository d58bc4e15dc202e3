"""What any chat model of ours does, whether our own client or LangChain's asks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from flotilla_llm import ChatRequest, ModelClient, ReplyEnd, TextDelta, ToolCallDelta
from flotilla_llm.langchain import chat_model
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_messages

CALCULATOR = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Calculates an arithmetic expression.",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
    },
}
LABEL = {
    "type": "json_schema",
    "json_schema": {
        "name": "label",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"label": {"type": "string", "enum": ["tea", "coffee"]}},
            "required": ["label"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True)
class Answer:
    """A reply as both sides can tell it."""

    text: str
    calls: Sequence[tuple[str, dict[str, Any]]]
    finish_reason: str
    tokens: tuple[int, int]
    pieces: int = 1


class Asker(Protocol):
    async def whole(self, request: ChatRequest) -> Answer: ...

    async def streamed(self, request: ChatRequest) -> Answer: ...


class OwnClient:
    """Asks through the ModelClient."""

    def __init__(self, models: ModelClient) -> None:
        self._models = models

    async def whole(self, request: ChatRequest) -> Answer:
        reply = await self._models.complete(request, routes=["default"])
        calls = [(call.name, json.loads(call.arguments)) for call in reply.tool_calls]
        return Answer(reply.content, calls, reply.finish_reason, (reply.usage.input_tokens, reply.usage.output_tokens))

    async def streamed(self, request: ChatRequest) -> Answer:
        parts = [part async for part in self._models.stream(request, routes=["default"])]
        texts = [part.text for part in parts if isinstance(part, TextDelta)]
        names: dict[int, str] = {}
        arguments: dict[int, str] = {}
        for part in parts:
            if isinstance(part, ToolCallDelta):
                names[part.index] = names.get(part.index, "") + part.name
                arguments[part.index] = arguments.get(part.index, "") + part.arguments
        calls = [(names[index], json.loads(arguments[index])) for index in sorted(names)]
        end = parts[-1]
        assert isinstance(end, ReplyEnd)
        return Answer(
            "".join(texts), calls, end.finish_reason, (end.usage.input_tokens, end.usage.output_tokens), len(texts)
        )


class LangChainClient:
    """Asks through the adapter."""

    def __init__(self, models: ModelClient) -> None:
        self._model = chat_model(models.route("default"))

    async def whole(self, request: ChatRequest) -> Answer:
        reply = await self._model.ainvoke(_messages(request), **_options(request))
        return _answer(reply, 1)

    async def streamed(self, request: ChatRequest) -> Answer:
        chunks = [chunk async for chunk in self._model.astream(_messages(request), **_options(request))]
        whole: Any = chunks[0]
        for chunk in chunks[1:]:
            whole = whole + chunk
        assert isinstance(whole, AIMessageChunk)
        return _answer(whole, sum(bool(chunk.content) for chunk in chunks))


def _messages(request: ChatRequest) -> list[BaseMessage]:
    return convert_to_messages([dict(message) for message in request.messages])


def _options(request: ChatRequest) -> dict[str, Any]:
    options = {
        "tools": list(request.tools) or None,
        "tool_choice": request.tool_choice,
        "response_format": request.response_format,
        "max_tokens": request.max_output_tokens,
        "stop": list(request.stop) or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def _answer(message: AIMessage, pieces: int) -> Answer:
    usage = message.usage_metadata
    assert usage is not None
    return Answer(
        message.text,
        [(call["name"], call["args"]) for call in message.tool_calls],
        message.response_metadata["finish_reason"],
        (usage["input_tokens"], usage["output_tokens"]),
        pieces,
    )


@pytest.fixture(params=[OwnClient, LangChainClient])
def asker(request: pytest.FixtureRequest, models: ModelClient) -> Asker:
    made: Asker = request.param(models)
    return made


def ask(text: str, **options: Any) -> ChatRequest:
    return ChatRequest(messages=[{"role": "user", "content": text}], **options)


async def test_whole_and_streamed_replies_are_the_same(asker: Asker) -> None:
    request = ask("count from 1 to 20")

    whole, streamed = await asker.whole(request), await asker.streamed(request)

    assert whole.text == streamed.text == " ".join(map(str, range(1, 21)))
    assert whole.finish_reason == streamed.finish_reason == "stop"
    assert whole.tokens == streamed.tokens
    assert whole.tokens[1] == 20


async def test_stream_comes_in_pieces(asker: Asker) -> None:
    assert (await asker.streamed(ask("[[dev: tokens=5 delay_ms=5]]"))).pieces > 1


async def test_tools_are_called_and_their_results_answered(asker: Asker) -> None:
    question = {"role": "user", "content": "What is 17 % of 2,349?"}
    request = ChatRequest(messages=[question], tools=[CALCULATOR])

    for answer in (await asker.whole(request), await asker.streamed(request)):
        assert answer.calls == [("calculator", {"expression": "17 / 100 * 2349"})]
        assert answer.finish_reason == "tool_calls"

    function = {"name": "calculator", "arguments": '{"expression":"17 / 100 * 2349"}'}
    calling = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    result = {"role": "tool", "tool_call_id": "c", "content": "399.33"}
    done = ChatRequest(messages=[question, calling, result], tools=[CALCULATOR])
    assert "399.33" in (await asker.whole(done)).text


async def test_structured_output_is_an_object_of_the_schema(asker: Asker) -> None:
    reply = await asker.whole(ask("I would like a cup of coffee", response_format=LABEL))

    assert json.loads(reply.text) == {"label": "coffee"}


async def test_limit_and_stop_are_honoured(asker: Asker) -> None:
    limited = await asker.whole(ask("count from 1 to 20", max_output_tokens=3))
    stopped = await asker.streamed(ask("count from 1 to 20", stop=[" 5"]))

    assert (limited.text, limited.finish_reason) == ("1 2 3", "length")
    assert (stopped.text, stopped.finish_reason) == ("1 2 3 4", "stop")
