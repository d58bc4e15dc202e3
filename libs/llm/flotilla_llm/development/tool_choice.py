"""Decides whether the user plainly asks for an offered tool, and calls it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

import orjson

from flotilla_llm.development.arguments import Unfillable, fill_arguments
from flotilla_llm.development.call import ChatCall, ToolOffer
from flotilla_llm.development.frames import WrittenCall
from flotilla_llm.development.knowledge import is_personal, is_question
from flotilla_llm.development.words import meaning, shared, words_in

_NAME_WEIGHT = 2.0
_ENOUGH = 2.0
_GENERIC = {
    "tool",
    "return",
    "current",
    "given",
    "user",
    "value",
    "result",
    "call",
    "use",
    "string",
    "text",
    "answer",
    "question",
}
_TO_REMEMBER = re.compile(
    r"\b(?:remember|note|keep in mind|don't forget|do not forget|memori[sz]e)\b(?!\s+(?:when|what|my\b.*\?))", re.I
)
_NOW = re.compile(
    r"\b(?:time is it|what(?:'s| is) the (?:time|date|day)|what (?:time|day|date)|current (?:time|date)|today's date|"
    r"o'clock)\b",
    re.I,
)


def choose_calls(call: ChatCall, *, knows_answer: bool) -> Sequence[WrittenCall]:
    """Returns the calls that the request asks for; none when an answer in words is better."""
    if not call.tools or call.tool_choice == "none":
        return ()
    if call.tool_choice.startswith("="):
        return _call_forced(call, [tool for tool in call.tools if tool.name == call.tool_choice[1:]])
    wanted = _wanted(call, knows_answer=knows_answer)
    if not wanted and call.tool_choice == "required":
        return _call_forced(call, sorted(call.tools, key=lambda tool: -_likeness(tool, call.question)))
    return wanted if call.parallel_tool_calls else wanted[:1]


def _wanted(call: ChatCall, *, knows_answer: bool) -> list[WrittenCall]:
    clauses = _clauses(call.question)
    found = _wanted_in(call, clauses, knows_answer=knows_answer)
    return found if found or len(clauses) == 1 else _wanted_in(call, [call.question], knows_answer=knows_answer)


def _wanted_in(call: ChatCall, clauses: Sequence[str], *, knows_answer: bool) -> list[WrittenCall]:
    written: list[WrittenCall] = []
    for clause in clauses:
        scored = sorted(
            ((_score(tool, clause, knows_answer), tool) for tool in call.tools),
            # Of equals, searching the memory is the last resort.
            key=lambda entry: (-entry[0], "memory" in entry[1].name),
        )
        for score, tool in scored:
            if score < _ENOUGH:
                break
            try:
                arguments = fill_arguments(tool.parameters, clause)
            except Unfillable:
                continue
            entry = _write(call, tool, arguments, len(written))
            if all((entry.name, entry.arguments) != (other.name, other.arguments) for other in written):
                written.append(entry)
            break
    return written


def _score(tool: ToolOffer, text: str, knows_answer: bool) -> float:
    names = set(words_in(tool.name))
    about = meaning(f"{tool.name} {tool.description}")
    properties = set(words_in(" ".join(tool.parameters.get("properties") or {})))
    if properties & {"expression", "formula"} or "calculator" in names:
        # Such a tool is wanted exactly when there is something to calculate, which filling the arguments finds out.
        return 4.0
    if properties & {"zone", "timezone", "tz"} or (names & {"clock", "time", "now"} and not properties):
        return 4.0 if _NOW.search(text) else 0.0
    if names & {"remember", "memorize", "memorise"} or ("save" in names and "memory" in names):
        return 4.0 if _TO_REMEMBER.search(text) and not is_question(text) else 0.0
    if names & {"memory", "memories", "recall"}:
        return _ENOUGH if is_personal(text) and not knows_answer else 0.0
    return _likeness(tool, text) + (1.0 if tool.name.lower() in text.lower() else 0.0) if about else 0.0


def _likeness(tool: ToolOffer, text: str) -> float:
    asked = meaning(text) - _GENERIC
    named = meaning(tool.name) - _GENERIC - {"get", "do", "make", "run"}
    parameters = tool.parameters.get("properties") or {}
    told = meaning(tool.description + " " + " ".join(parameters)) - _GENERIC - named
    name_part = _NAME_WEIGHT * shared(named, asked) * min(len(named), 2)
    return name_part + len(asked & told)


def _clauses(question: str) -> list[str]:
    """Cuts a question that asks for two things, `… and what …`, so that each may have its own call."""
    parts = re.split(
        r"(?<=[?.;!])\s+|,?\s+and(?: also)?\s+(?=(?:what|how|which|where|when|please|calculate|compute|remember)\b)",
        question,
    )
    return [part.strip() for part in parts if part and part.strip()]


def _call_forced(call: ChatCall, tools: Sequence[ToolOffer]) -> list[WrittenCall]:
    for tool in tools:
        try:
            return [_write(call, tool, fill_arguments(tool.parameters, call.question), 0)]
        except Unfillable:
            continue
    return [_write(call, tool, {}, 0) for tool in tools[:1]]


def _write(call: ChatCall, tool: ToolOffer, arguments: object, index: int) -> WrittenCall:
    text = orjson.dumps(arguments).decode()
    # The same request gives the same id; a later turn of the same conversation another.
    seed = f"{len(call.messages)}|{index}|{tool.name}|{text}|{call.question}"
    return WrittenCall(
        "call_" + blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest(), tool.name, text
    )
