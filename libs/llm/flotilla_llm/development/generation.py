"""From a chat request to a reply and how it is given: script, directives, then the model's own answer."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import orjson

from flotilla_llm.development.behaviour import Behaviour, read_behaviour, without_directives
from flotilla_llm.development.call import ChatCall
from flotilla_llm.development.frames import Counts, Reply, WrittenCall, tokens_of
from flotilla_llm.development.replies import limited, make_reply
from flotilla_llm.development.script import Rule, Script
from flotilla_llm.tokens import MESSAGE_OVERHEAD, REPLY_OVERHEAD, count_text

_REMEMBERED_FAULTS = 10_000


@dataclass(frozen=True, slots=True)
class Generation:
    """A reply, its tokens and how it is to be given."""

    reply: Reply
    counts: Counts
    behaviour: Behaviour


class Generator:
    """Makes replies; its only state is how often a rule or a limited fault was met."""

    def __init__(self, script: Script, default: Behaviour) -> None:
        self._script = script
        self._default = default
        self._met: OrderedDict[bytes, int] = OrderedDict()

    def generate(self, call: ChatCall) -> Generation:
        """Returns the reply to a request. Raises BadRequest for a directive that is wrong."""
        rule = self._script.rule_for(call)
        default = rule.behaviour(self._default) if rule is not None else self._default
        behaviour = self._limit_fault(call, read_behaviour(call.question, call.metadata, default))
        reply = self._scripted(call, rule) or make_reply(_understood(call))
        reply = _shaped(reply, behaviour, has_text=rule is not None and rule.reply is not None)
        reply = limited(reply, call.stop, call.max_tokens)
        return Generation(reply, _count(call, reply), behaviour)

    def _scripted(self, call: ChatCall, rule: Rule | None) -> Reply | None:
        if rule is None or (rule.reply is None and not rule.tool_calls):
            return None
        calls = [
            WrittenCall(
                _call_id(call, at),
                scripted.name,
                scripted.arguments
                if isinstance(scripted.arguments, str)
                else orjson.dumps(scripted.arguments).decode(),
            )
            for at, scripted in enumerate(rule.tool_calls)
        ]
        return Reply(rule.reply or "", calls, "tool_calls" if calls else "stop")

    def _limit_fault(self, call: ChatCall, behaviour: Behaviour) -> Behaviour:
        if behaviour.fault is None or behaviour.times is None:
            return behaviour
        key = blake2b(call.question.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        met = self._met[key] = self._met.pop(key, 0) + 1
        if len(self._met) > _REMEMBERED_FAULTS:
            self._met.popitem(last=False)
        return behaviour if met <= behaviour.times else replace(behaviour, fault=None)


def _understood(call: ChatCall) -> ChatCall:
    """Returns the request without directives, which may also come back from memory."""
    messages = [replace(message, text=without_directives(message.text)) for message in call.messages]
    return replace(call, messages=messages)


def _shaped(reply: Reply, behaviour: Behaviour, *, has_text: bool) -> Reply:
    salt = secrets.token_hex(3) if behaviour.salt == "random" else behaviour.salt
    if behaviour.tokens is not None and not reply.calls and not has_text:
        mark = f"{salt}:" if salt else ""
        reply = replace(reply, text=" ".join(f"{mark}{number}" for number in range(1, behaviour.tokens + 1)))
    elif salt and reply.text:
        reply = replace(reply, text=f"({salt}) {reply.text}")
    if behaviour.fault is not None and behaviour.fault.kind == "bad_tool_json":
        reply = replace(reply, calls=_broken(reply.calls))
    return reply


def _broken(calls: Sequence[WrittenCall]) -> list[WrittenCall]:
    return [replace(call, arguments=call.arguments[:-1] + ', "oops') for call in calls]


def _count(call: ChatCall, reply: Reply) -> Counts:
    read = sum(MESSAGE_OVERHEAD + count_text(message.text) for message in call.messages) + REPLY_OVERHEAD
    read += sum(count_text(tool.name) + count_text(tool.description) + 4 * len(tool.parameters) for tool in call.tools)
    written = len(tokens_of(reply.text)) + sum(1 + len(tokens_of(written.arguments)) for written in reply.calls)
    return Counts(read, written)


def _call_id(call: ChatCall, at: int) -> str:
    seed = f"{len(call.messages)}|{at}|{call.question}"
    return "call_" + blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
