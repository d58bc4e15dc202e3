from typing import Any

import jsonschema
import orjson
import pytest
from flotilla_llm.development.behaviour import Behaviour
from flotilla_llm.development.call import read_call
from flotilla_llm.development.generation import Generator
from flotilla_llm.development.script import Script
from hypothesis import given
from hypothesis import strategies as st

LABELS = (
    "Classify the request:\n- billing: charges, invoices, refunds\n- technical: errors, crashes\n- other: anything else"
)
ROUTING = "Decide who goes next.\n- researcher: looks up facts about a topic\n- writer: writes reports and texts"

scalars = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("string")}, optional={"minLength": st.integers(0, 9), "maxLength": st.integers(9, 40)}
    ),
    st.fixed_dictionaries({"type": st.just("string"), "format": st.sampled_from(["date", "email", "uuid", "uri"])}),
    st.fixed_dictionaries({"type": st.just("integer")}, optional={"minimum": st.just(-5), "maximum": st.just(10)}),
    st.fixed_dictionaries(
        {"type": st.just("number")}, optional={"exclusiveMinimum": st.just(0), "maximum": st.just(1)}
    ),
    st.fixed_dictionaries({"type": st.sampled_from(["boolean", "null"])}),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from(["red", "green", "blue", 3]), min_size=1, unique=True)}),
    st.fixed_dictionaries({"const": st.sampled_from(["x", 1, True])}),
    st.fixed_dictionaries({"anyOf": st.just([{"type": "null"}, {"type": "string"}])}),
    st.fixed_dictionaries({"$ref": st.just("#/$defs/point")}),
)
schemas = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner}, optional={"minItems": st.just(2), "maxItems": st.just(3)}
        ),
        st.dictionaries(st.sampled_from(["name", "reason", "city", "score"]), inner, min_size=1, max_size=3).map(
            lambda properties: {"type": "object", "properties": properties, "required": list(properties)}
        ),
    ),
    max_leaves=6,
)


def made(schema: dict[str, Any], question: str, system: str = "", after: list[dict[str, Any]] | None = None) -> Any:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}, *(after or [])]
    response_format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = {"model": "flotilla-dev", "messages": messages, "response_format": response_format}
    return orjson.loads(Generator(Script(), Behaviour()).generate(read_call(body)).reply.text)


@given(
    st.dictionaries(st.sampled_from(["a", "answer", "is_urgent", "when"]), schemas, min_size=1, max_size=3),
    st.sampled_from(["", "What about 7 trees in Oslo?", 'Say "hello" to Ada']),
)
def test_object_is_valid_for_its_schema(properties: dict[str, Any], question: str) -> None:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
    }

    jsonschema.validate(made(schema, question), schema)


@pytest.mark.parametrize(
    ("question", "label"),
    [
        ("I was charged twice on my invoice", "billing"),
        ("The app crashes with an error", "technical"),
        ("Good morning", "other"),
    ],
)
def test_label_is_the_likest(question: str, label: str) -> None:
    schema = {"type": "object", "properties": {"category": {"enum": ["billing", "technical", "other"]}}}

    assert made(schema, question, LABELS) == {"category": label}


def test_router_comes_to_an_end() -> None:
    schema = {"type": "object", "properties": {"next": {"enum": ["researcher", "writer", "FINISH"]}}}
    question = "Look up facts about tides and write a report."
    first = {"role": "assistant", "name": "researcher", "content": "Tides are caused by the moon."}
    second = {"role": "assistant", "name": "writer", "content": "A report."}

    order = [made(schema, question, ROUTING, after)["next"] for after in ([], [first], [first, second])]

    assert sorted(order[:2]) == ["researcher", "writer"] or order[0] == "writer"
    assert order[2] == "FINISH"


def test_json_object_without_schema_is_an_object() -> None:
    body = {
        "model": "flotilla-dev",
        "messages": [{"role": "user", "content": "Hi"}],
        "response_format": {"type": "json_object"},
    }

    reply = Generator(Script(), Behaviour()).generate(read_call(body)).reply

    assert isinstance(orjson.loads(reply.text), dict)
