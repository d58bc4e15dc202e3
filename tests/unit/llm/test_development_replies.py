from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest
from flotilla_llm.development.behaviour import Behaviour
from flotilla_llm.development.call import BadRequest, read_call
from flotilla_llm.development.frames import Reply
from flotilla_llm.development.generation import Generator
from flotilla_llm.development.script import Rule, Script

Json = Mapping[str, Any]

SYSTEM = (
    "You are a helpful assistant. Use the calculator for arithmetic. Answer questions about colours.\n\n"
    "What is remembered of this person:\n- User: My favourite colour is teal.\n- User: I live in Oslo. My name is Ada."
)


def tool(name: str, description: str, required: Sequence[str] | None = None, **properties: Json) -> Json:
    parameters = {"type": "object", "properties": properties, "required": list(required or properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TEXT = {"type": "string"}
TOOLS = [
    tool("calculator", "Calculates an arithmetic expression exactly.", expression=TEXT),
    tool("clock", "Tells the current date and time in a time zone.", time_zone=TEXT),
    tool("remember", "Keeps a fact about the person in long-term memory.", text=TEXT),
    tool("search_memory", "Searches what is remembered about the person.", query=TEXT),
    tool(
        "get_weather",
        "Get the current weather for a city.",
        ["city"],
        city=TEXT,
        unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
    ),
    tool("lookup_order", "Looks up an order by its number.", order_id={"type": "integer"}),
]


def reply_to(
    question: str, *, system: str = "", tools: Sequence[Json] = (), after: Sequence[Json] = (), **more: Any
) -> Reply:
    messages: list[Json] = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": question}, *after]
    body = {"model": "flotilla-dev", "messages": messages, "tools": tools, **more}
    return Generator(Script(), Behaviour()).generate(read_call(body)).reply


def calls(reply: Reply) -> list[tuple[str, Any]]:
    return [(call.name, orjson.loads(call.arguments)) for call in reply.calls]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is 17 % of 2,349?", [("calculator", {"expression": "17 / 100 * 2349"})]),
        ("What is (3 + 4) \u00d7 12 \u00f7 7?", [("calculator", {"expression": "(3 + 4) * 12 / 7"})]),
        ("What time is it in Tokyo?", [("clock", {"time_zone": "Asia/Tokyo"})]),
        ("What time is it in America/New_York?", [("clock", {"time_zone": "America/New_York"})]),
        ("remember that I like tea", [("remember", {"text": "I like tea"})]),
        ("What is my shoe size?", [("search_memory", {"query": "What is my shoe size"})]),
        ("weather in Paris", [("get_weather", {"city": "Paris"})]),
        (
            "What's the weather in San Francisco in fahrenheit?",
            [("get_weather", {"city": "San Francisco", "unit": "fahrenheit"})],
        ),
        ("Where is my order 4711?", [("lookup_order", {"order_id": 4711})]),
        (
            "What is 2+2 and what time is it in London?",
            [("calculator", {"expression": "2+2"}), ("clock", {"time_zone": "Europe/London"})],
        ),
        ("Hello there!", []),
        ("I have 3 cats and 2 dogs.", []),
        ("Tell me about the history of arithmetic.", []),
    ],
)  # fmt: skip
def test_tool_is_called_when_plainly_asked_for(question: str, expected: list[tuple[str, Json]]) -> None:
    reply = reply_to(question, tools=TOOLS)

    assert calls(reply) == expected
    assert reply.finish_reason == ("tool_calls" if expected else "stop")


def test_tool_choice_is_obeyed() -> None:
    named = {"type": "function", "function": {"name": "lookup_order"}}

    assert not reply_to("What is 1 + 1?", tools=TOOLS, tool_choice="none").calls
    assert calls(reply_to("Hello", tools=TOOLS, tool_choice=named))[0][0] == "lookup_order"
    assert len(reply_to("Hello", tools=TOOLS, tool_choice="required").calls) == 1
    both = "What is 2+2 and what time is it in London?"
    assert len(reply_to(both, tools=TOOLS, parallel_tool_calls=False).calls) == 1


def after_tool(name: str, result: str) -> list[Json]:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": result},
    ]


@pytest.mark.parametrize("result", ["399.33", '{"result": 399.33}'])
def test_answer_from_a_tools_result_has_it_exactly_and_calls_nothing(result: str) -> None:
    reply = reply_to("What is 17 % of 2,349?", tools=TOOLS, after=after_tool("calculator", result))

    assert reply.text == "17 % of 2,349 is 399.33."
    assert not reply.calls


def test_answer_from_found_memories() -> None:
    found = after_tool("search_memory", "- My favourite colour is teal.\n- I like tea.")

    assert "teal" in reply_to("What is my favourite colour?", tools=TOOLS, after=found).text
    assert "not know" in reply_to("What is my shoe size?", tools=TOOLS, after=found).text


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is my favourite colour?", "Your favourite colour is teal."),
        ("What's my favorite color?", "Your favourite colour is teal."),
        ("Where do I live?", "You live in Oslo."),
        ("Who am I?", "Your name is Ada."),
    ],
)
def test_answer_from_what_was_recalled(question: str, answer: str) -> None:
    assert reply_to(question, system=SYSTEM, tools=TOOLS).text == answer


def test_answer_from_a_remembered_turn_leaves_out_who_answered() -> None:
    system = "What you know:\n- [2026-11-21] User: My favourite colour is teal. / Assistant: Noted: Your colour is red."

    assert reply_to("What is my favourite colour?", system=system).text == "Your favourite colour is teal."


@pytest.mark.parametrize(
    "system",
    [
        "Your part of the work now:\n<task>\nTell my favourite colour, which is anything.\n</task>",
        "- Remember a favourite colour only when the person asks you to.",
    ],
)
def test_what_is_to_be_done_is_no_fact(system: str) -> None:
    assert "do not know" in reply_to("What is my favourite colour?", system=system).text


def test_answer_from_earlier_in_the_conversation_prefers_the_correction() -> None:
    earlier = [
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "My favourite colour is green."},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "What is my favourite colour?"},
    ]

    assert "green" in reply_to("My favourite colour is red.", after=earlier).text


def test_unknown_is_said_plainly() -> None:
    assert "do not know" in reply_to("What is my favourite colour?").text


def test_counting_is_bounded() -> None:
    assert reply_to("Please count from 1 to 5").text == "1 2 3 4 5"
    assert len(reply_to("count from 1 to 999999").text.split()) == 2000


def test_limits_cut_the_reply() -> None:
    assert reply_to("count from 1 to 9", max_tokens=3) == Reply("1 2 3", (), "length")
    assert reply_to("count from 1 to 9", stop=[" 4"]) == Reply("1 2 3", (), "stop")


def test_same_request_has_the_same_reply_and_another_salt_another() -> None:
    question = "What is 17 % of 2,349?"

    assert reply_to(question, tools=TOOLS) == reply_to(question, tools=TOOLS)
    assert reply_to("hi [[dev: salt=random]]") != reply_to("hi [[dev: salt=random]]")


def test_directive_sets_length_and_is_not_understood_as_text() -> None:
    assert reply_to("[[dev: tokens=4]] tell me").text == "1 2 3 4"
    assert "dev:" not in reply_to("Tell me about tides [[dev: delay_ms=0]]").text


def test_wrong_directive_is_refused() -> None:
    with pytest.raises(BadRequest, match="nonsense"):
        reply_to("[[dev: nonsense=1]]")


@pytest.mark.parametrize("rule", [Rule(match="^refund", reply="Done."), Rule(agent="support", reply="Done.")])
def test_rule_replies(rule: Rule) -> None:
    generator = Generator(Script((rule,)), Behaviour())

    def text(question: str, agent: str) -> str:
        messages = [{"role": "user", "content": question}]
        body = {"model": "flotilla-dev", "messages": messages, "metadata": {"flotilla_agent": agent}}
        return generator.generate(read_call(body)).reply.text

    assert text("refund me", "support") == "Done."
    assert text("hello", "other") != "Done."


def test_rule_counts_nth_and_times() -> None:
    rules = (Rule(match="x", nth=2, reply="second"), Rule(match="x", times=1, reply="first"))
    generator = Generator(Script(rules), Behaviour())
    call = read_call({"model": "flotilla-dev", "messages": [{"role": "user", "content": "x"}]})

    texts = [generator.generate(call).reply.text for _ in range(3)]

    assert texts[:2] == ["first", "second"]
    assert texts[2] not in ("first", "second")


def test_rule_with_tool_calls_holds_only_before_the_result() -> None:
    rule = Rule(match="x", tool_calls=({"name": "clock", "arguments": '{"broken'},))
    generator = Generator(Script((rule,)), Behaviour())
    messages = [{"role": "user", "content": "x"}]

    before = generator.generate(read_call({"model": "flotilla-dev", "messages": messages}))
    after = generator.generate(
        read_call({"model": "flotilla-dev", "messages": [*messages, *after_tool("clock", "noon")]})
    )

    assert before.reply.calls[0].arguments == '{"broken'
    assert after.reply.text == "According to clock: noon"
