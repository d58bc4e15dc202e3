"""What the development model says: tool calls when plainly asked for, else an answer from the conversation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import orjson

from flotilla_llm.development.call import ChatCall, Message
from flotilla_llm.development.entities import gist
from flotilla_llm.development.frames import Reply, tokens_of
from flotilla_llm.development.knowledge import best_fact, facts_in, is_personal, is_question, recall, to_listener
from flotilla_llm.development.structured import make_object
from flotilla_llm.development.tool_choice import choose_calls

MAX_COUNT = 2000
_COUNT = re.compile(r"\bcount\b.*?\bfrom\s+(\d+)\s+(?:up\s+)?to\s+(\d+)|\bcount\s+(?:up\s+)?to\s+(\d+)", re.I | re.S)
_GREETING = re.compile(r"^\s*(?:hi|hello|hey|good (?:morning|afternoon|evening)|greetings)\b[^?]{0,24}$", re.I)
_THANKS = re.compile(r"^\s*(?:thanks|thank you|cheers)\b", re.I)
_STATEMENT = re.compile(r"\b(?:i am|i'm|my|i like|i live|i work|i have|i prefer|remember)\b", re.I)
_WHAT_IS = re.compile(r"^\s*(?:what(?:'s| is| are)|how much is|calculate|compute)\s+(.{1,120}?)\s*[?.!]*$", re.I | re.S)
_FAILED = re.compile(r"^\s*(?:error|failed|tool .* failed)\b", re.I)
_RESULT_LENGTH = 2000
_GIST_LENGTH = 160


def make_reply(call: ChatCall) -> Reply:
    """Returns the reply; the same request always gives the same one."""
    results = _results(call.messages)
    if not results and (calls := choose_calls(call, knows_answer=recall(call) is not None)):
        return Reply(calls=calls, finish_reason="tool_calls")
    if call.schema is not None:
        made = make_object(call, lambda: _say(call, results))
        return Reply(orjson.dumps(made).decode())
    return Reply(_say(call, results))


def limited(reply: Reply, stop: Sequence[str], max_tokens: int) -> Reply:
    """Returns the reply cut at the first stop sequence and at the limit of tokens."""
    text = reply.text
    for sequence in stop:
        if sequence and sequence in text:
            text = text[: text.index(sequence)]
    tokens = tokens_of(text)
    if len(tokens) > max_tokens:
        return replace(reply, text="".join(tokens[:max_tokens]), finish_reason="length")
    return replace(reply, text=text) if text != reply.text else reply


def _results(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Returns name and content of the tool results at the conversation's end."""
    names = {id_: name for message in messages for id_, name in zip(message.call_ids, message.call_names, strict=True)}
    results: list[tuple[str, str]] = []
    for message in reversed(messages):
        if message.role not in ("tool", "function"):
            break
        results.append((message.name or names.get(message.answers) or "the tool", message.text))
    return results[::-1]


def _say(call: ChatCall, results: Sequence[tuple[str, str]]) -> str:
    question = call.question.strip()
    if results:
        return " ".join(_say_result(question, name, text, is_only=len(results) == 1) for name, text in results)
    if numbers := _counted(question):
        return numbers
    if _GREETING.match(question):
        return "Hello! I am Flotilla's development model. What can I do for you?"
    if _THANKS.match(question):
        return "You are welcome."
    if is_question(question):
        return _say_known(call, question)
    if _STATEMENT.search(question):
        return f"Noted: {to_listener(gist(question)).rstrip('.!')}."
    return f"You said: “{_short(question)}” I am Flotilla's development model, so this is a stand-in for a real answer."


def _say_known(call: ChatCall, question: str) -> str:
    if (fact := recall(call)) is not None:
        return to_listener(fact)
    if is_personal(question):
        return "I do not know that: nothing in this conversation or in what I remember says so."
    return (
        f"You asked: “{_short(question)}” I do not know; I am Flotilla's development model and answer only from this "
        "conversation, its tools and what was remembered."
    )


def _say_result(question: str, name: str, text: str, *, is_only: bool) -> str:
    result = _plain(text)[:_RESULT_LENGTH]
    if _FAILED.match(result):
        return f"The tool {name} failed: {result}"
    if "memory" in name or "recall" in name:
        fact = best_fact(question, list(facts_in(result)))
        return to_listener(fact) if fact else "I do not know that: my memory has nothing about it."
    if name.startswith("remember"):
        return f"I will remember: {to_listener(gist(question)).rstrip('.')}."
    if is_only and "\n" not in result and len(result) <= 40 and (asked := _WHAT_IS.match(question)):
        subject = asked.group(1)
        return f"{subject[0].upper()}{subject[1:]} is {result}."
    return f"According to {name}: {result}"


def _plain(text: str) -> str:
    """Returns the one value of a JSON object that has only one, and otherwise the text as it is."""
    if not text.lstrip().startswith("{"):
        return text.strip()
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.strip()
    if len(value) != 1:
        return text.strip()
    # Taken from the text, because a number must stay exactly as the tool wrote it.
    only = next(iter(value.values()))
    return only if isinstance(only, str) else text.split(":", 1)[1].rstrip().removesuffix("}").strip()


def _counted(question: str) -> str:
    found = _COUNT.search(question)
    if found is None:
        return ""
    first, last = int(found[1] or 1), int(found[2] or found[3])
    step = 1 if last >= first else -1
    return " ".join(map(str, range(first, last + step, step)[:MAX_COUNT]))


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _GIST_LENGTH else flat[:_GIST_LENGTH].rsplit(" ", 1)[0] + " …"
