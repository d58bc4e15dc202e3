"""Scripted replies and faults: rules from a YAML or JSON file, the first that matches decides.

rules:
  - match: "^refund"            # regular expression, searched in the last user message
    agent: support              # metadata.flotilla_agent
    system: "You are a critic"  # regular expression, searched in the system prompt
    after_tool: true            # only when the last message is a tool's result; a rule with tool_calls: only when not
    nth: 2                      # only the second request that matches everything above
    times: 3                    # only the first three
    reply: "Done."              # or tool_calls: [{name: refund, arguments: {order: 7}}]
    tokens: 200
    delay_ms_per_token: 20
    first_token_delay_ms: 500
    fault: "429:2"              # as in behaviour.py
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from flotilla_llm.development.behaviour import Behaviour, read_fault
from flotilla_llm.development.call import ChatCall


class ScriptedCall(BaseModel):
    """A tool call that a rule makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    arguments: Mapping[str, Any] | str = Field(default_factory=dict)
    """An object, or text that is sent as it is, which may be broken JSON."""


class Rule(BaseModel):
    """One line of the script: when, what and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    match: str | None = None
    agent: str | None = None
    system: str | None = None
    after_tool: bool | None = None
    nth: int | None = Field(default=None, ge=1)
    times: int | None = Field(default=None, ge=1)
    reply: str | None = None
    tool_calls: tuple[ScriptedCall, ...] = ()
    tokens: int | None = None
    delay_ms_per_token: float | None = None
    first_token_delay_ms: float = 0
    fault: str | None = None

    def behaviour(self, default: Behaviour) -> Behaviour:
        """Returns how the rule's answer is given."""
        return Behaviour(
            tokens=self.tokens,
            delay_ms=default.delay_ms if self.delay_ms_per_token is None else self.delay_ms_per_token,
            first_delay_ms=self.first_token_delay_ms,
            fault=read_fault(self.fault) if self.fault else None,
        )

    def fits(self, call: ChatCall) -> bool:
        """Whether everything but the counts holds."""
        is_after_tool = call.messages[-1].role == "tool"
        wanted = False if self.tool_calls and self.after_tool is None else self.after_tool
        return (
            (wanted is None or wanted == is_after_tool)
            and (self.agent is None or self.agent == call.metadata.get("flotilla_agent"))
            and (self.match is None or re.search(self.match, call.question) is not None)
            and (self.system is None or re.search(self.system, call.instructions) is not None)
        )


class Script:
    """The rules and how often each has matched."""

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        self._rules = rules
        self._matches = [0] * len(rules)

    def rule_for(self, call: ChatCall) -> Rule | None:
        """Returns the first rule that holds, and counts."""
        for at, rule in enumerate(self._rules):
            if not rule.fits(call):
                continue
            self._matches[at] += 1
            number = self._matches[at]
            if (rule.nth is None or rule.nth == number) and (rule.times is None or number <= rule.times):
                return rule
        return None


def load_script(path: Path) -> Script:
    """Reads a script. Raises OSError, yaml.YAMLError or pydantic's ValidationError, which name what is wrong."""
    text = yaml.safe_load(path.read_text())
    rules = tuple(Rule.model_validate(rule) for rule in text["rules"])
    for rule in rules:
        rule.behaviour(Behaviour())
    return Script(rules)
