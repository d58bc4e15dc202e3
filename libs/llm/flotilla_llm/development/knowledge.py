"""Answers from the conversation: recalled memories, facts in the system prompt, what the user said before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from flotilla_llm.development.call import ChatCall
from flotilla_llm.development.words import meaning, shared, stem

_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\S)[^.!?\n]*)*[.!?]*")
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s+")
_SPEAKER = re.compile(
    r"^\s*(?:\[[^\]]*\]\s*)?(?:\(?\d{4}-\d\d-\d\d[^:)]{0,20}\)?:?\s*)?(?:the )?(?:user|human|said)\s*:\s*", re.I
)
_ASSISTANT = re.compile(r"^\s*(?:\[[^\]]*\]\s*)?(?:assistant|ai|answer)\s*:", re.I)
_TURN = re.compile(r"\s+/\s+(?=(?:user|human|assistant|ai)\s*:)", re.I)
_TASK = re.compile(r"<task>.*?</task>", re.I | re.S)
"""What somebody wants done tells nothing."""
_QUESTION = re.compile(
    r"^(?:(?:and|so|ok|hey|please)[, ]+)?(?:what|which|who|whom|whose|when|where|why|how|is|are|am|do|does|did|can|"
    r"could|will|would|should|have|has|tell me|remind me)\b",
    re.I,
)
_INSTRUCTION = re.compile(
    r"^(?:you (?:are|can|should|must|may|will|have)|never|always|use|answer|do|don't|if|when|be|reply|ask|search|give|"
    r"remember|write|keep|add)\b",
    re.I,
)
_PERSONAL = re.compile(r"\b(?:i|my|me|mine|am i|i'm)\b", re.I)
_REQUEST = re.compile(r"^(?:please\s+)?(?:can|could|would|will) you\b", re.I)
_ASKS_FOR_NAME = re.compile(r"\bwho am i\b|\bwhat am i called\b", re.I)
_PERSONS = {
    "i am": "you are", "i'm": "you're", "i was": "you were", "i've": "you've", "i'd": "you'd", "i'll": "you'll",
    "my": "your", "mine": "yours", "myself": "yourself", "me": "you", "i": "you", "the user's": "your",
}  # fmt: skip
_PERSON = re.compile(r"(?<![\w'])(" + "|".join(map(re.escape, _PERSONS)) + r")(?![\w'])", re.I)
_ENOUGH = 0.5


def is_question(text: str) -> bool:
    """Whether the text asks for something to be told."""
    return text.rstrip().endswith("?") or _QUESTION.match(text.strip()) is not None


def is_personal(text: str) -> bool:
    """Whether the text asks about the person who asks."""
    return (
        is_question(text) and _PERSONAL.search(_REQUEST.sub("", text)) is not None and "tell me" not in text.lower()[:8]
    )


def recall(call: ChatCall) -> str | None:
    """Returns the known sentence that answers the question best, the later one of equals, or None."""
    return best_fact(call.question, list(_known(call)))


def best_fact(question: str, facts: Sequence[str]) -> str | None:
    """Returns the fact that shares at least half of what the question asks for."""
    asked = meaning(question) - {"tell", "remind", "know", "remember", "said", "say", "told"}
    if _ASKS_FOR_NAME.search(question):
        asked = {stem("name")}
    best, best_score = None, _ENOUGH
    for fact in facts:
        score = shared(asked, meaning(fact))
        if score >= best_score:
            best, best_score = fact, score
    return best


def facts_in(text: str) -> Iterator[str]:
    """Yields the sentences that tell something."""
    for line in _spoken_lines(text):
        if _ASSISTANT.match(line):
            continue
        for found in _SENTENCE.findall(_SPEAKER.sub("", line)):
            sentence = found.strip().strip('"')
            if len(sentence) > 3 and not sentence.endswith((":", "?")) and not _INSTRUCTION.match(sentence):
                yield sentence


def to_listener(fact: str) -> str:
    """Returns the fact as one says it to the person it is about: `My colour is teal.` is `Your colour is teal.`"""
    said = _PERSON.sub(lambda match: _PERSONS[match.group().lower()], fact)
    return said[0].upper() + said[1:] if said else said


def _spoken_lines(text: str) -> Iterator[str]:
    """Yields what one speaker says at a time: memories write a whole turn as `User: … / Assistant: …`."""
    for line in text.splitlines():
        yield from _TURN.split(_BULLET.sub("", line))


def _known(call: ChatCall) -> Iterator[str]:
    yield from facts_in(_TASK.sub("", call.instructions))
    said = [message.text for message in call.messages if message.role == "user"]
    for text in said[:-1]:
        yield from (fact for fact in facts_in(text) if not is_question(fact))
