"""`flotilla chat`: talks with an agent in the terminal."""

import contextlib
import getpass
import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape

from flotilla_cli.commands.options import HomeOption, open_home
from flotilla_cli.console import err, out
from flotilla_cli.conversation import Conversation
from flotilla_cli.failure import CommandError
from flotilla_cli.gateway import Json, client
from flotilla_cli.home import DEFAULT_HOME

_LONGEST_SHOWN = 160


def chat(
    message: Annotated[str | None, typer.Argument(help="Ask this and leave; without it, talk.")] = None,
    agent: Annotated[str, typer.Option(help="Whom to talk to.")] = "assistant",
    thread: Annotated[str | None, typer.Option(help="Go on with this thread.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose memory it is; your login name unless told otherwise.")] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Talk with an agent; its tool calls are shown. Ctrl-C stops an answer, Ctrl-D leaves."""
    place = open_home(home)
    with client(place) as gateway:
        conversation = Conversation(gateway, agent, user or _login_name(), thread)
        if message is not None:
            _answer(conversation, message)
            return
        err.print(f"[dim]{escape(agent)}, as {escape(conversation.user)}. Ctrl-D leaves.[/]")
        for text in _questions():
            _answer_or_complain(conversation, text)
        if conversation.thread_id:
            err.print(f"[dim]go on with: {escape(place.command('chat'))} --thread {conversation.thread_id}[/]")


def _questions() -> Iterator[str]:
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            out.print()
            return
        if text:
            yield text


def _answer_or_complain(conversation: Conversation, text: str) -> None:
    try:
        _answer(conversation, text)
    except CommandError as failure:
        err.print(f"[red]{escape(str(failure))}[/]")


def _answer(conversation: Conversation, text: str) -> None:
    with contextlib.closing(conversation.ask(text)) as events:
        try:
            for event in events:
                _show(event)
        except KeyboardInterrupt:
            err.print("\n[yellow]stopped[/]")


def _show(event: Json) -> None:
    match event:
        case {"type": "token", "is_answer": True, "text": text}:
            print(text, end="", flush=True)
        case {"type": "tool", "phase": "TOOL_PHASE_STARTED"}:
            err.print(f"[cyan]· {escape(event['name'])}[/] [dim]{escape(_short(event.get('arguments')))}[/]")
        case {"type": "tool", "phase": "TOOL_PHASE_SUCCEEDED"}:
            err.print(f"[cyan]· {escape(event['name'])}[/] [dim]= {escape(_short(event.get('content')))}[/]")
        case {"type": "tool"}:
            err.print(f"[red]· {escape(event['name'])} failed: {escape(_short(event.get('reason')))}[/]")
        case {"type": "reply_restarted"}:
            err.print("\n[yellow]the answer begins again:[/]")
        case {"type": "interrupted"}:
            err.print("\n[yellow]the run waits for a person's decision[/]")
        case {"type": "failed", "error": error}:
            raise CommandError(f"the run failed: {error['message']}", hint=error.get("reason", ""))
        case {"type": "done"}:
            print(flush=True)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "me"
