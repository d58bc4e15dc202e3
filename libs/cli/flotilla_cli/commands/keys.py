"""`flotilla keys`: API keys, managed with the admin key of this installation."""

from typing import Annotated

import typer
from rich.markup import escape

from flotilla_cli.commands.options import HomeOption, open_home
from flotilla_cli.console import err, out, show_table
from flotilla_cli.gateway import Json, call, client
from flotilla_cli.home import DEFAULT_HOME

keys = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="May be repeated: chat, embeddings, act_as, admin.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose key it is.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="A limit of its own.")] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Make a key and print it; it is shown this once."""
    body: Json = {"name": name, "scopes": scope or ["chat"]}
    body |= {"user": user} if user else {}
    body |= {"requests_per_minute": requests_per_minute} if requests_per_minute else {}
    with client(open_home(home), admin=True) as gateway:
        made = call(gateway, "POST", "/v1/keys", body)
    err.print(f"key {escape(str(made['id']))} with {', '.join(made['scopes'])}; it is not shown again")
    print(made["key"])


@keys.command(name="list")
def list_keys(home: HomeOption = DEFAULT_HOME) -> None:
    """Show all keys without their secrets."""
    with client(open_home(home), admin=True) as gateway:
        found: list[Json] = call(gateway, "GET", "/v1/keys")["data"]
    show_table(("id", "name", "prefix", "scopes", "state"), map(_row, found))


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="From `flotilla keys list`.")], home: HomeOption = DEFAULT_HOME
) -> None:
    """Make a key useless, on every replica within seconds."""
    with client(open_home(home), admin=True) as gateway:
        call(gateway, "DELETE", f"/v1/keys/{key_id}")
    out.print(f"{escape(key_id)} is revoked")


def _row(key: Json) -> tuple[str, ...]:
    state = "revoked" if key.get("revoked_at") else "valid"
    return tuple(escape(str(cell)) for cell in (key["id"], key["name"], key["prefix"], " ".join(key["scopes"]), state))
