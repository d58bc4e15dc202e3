"""`flotilla up`: the whole platform on this machine."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from flotilla_cli.commands.options import HomeOption, open_home
from flotilla_cli.home import DEFAULT_HOME
from flotilla_cli.platform.plan import Plan, find_agents, parse_provider, parse_replicas
from flotilla_cli.platform.progress import Progress


def up(
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[int, typer.Option(min=1, max=65_000, help="Where the gateway listens; replicas follow it.")] = 8080,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when ready; `flotilla down` stops it.")
    ] = False,
    replicas: Annotated[str, typer.Option(help="More than one of a service, such as orchestrator=2,gateway=2.")] = "",
    model_base_url: Annotated[
        str | None, typer.Option(envvar="FLOTILLA_MODEL_BASE_URL", help="A real provider that speaks OpenAI's wire.")
    ] = None,
    model: Annotated[str | None, typer.Option(envvar="FLOTILLA_MODEL_NAME", help="Its model.")] = None,
    agents: Annotated[Path | None, typer.Option(help="The folder of agent files.")] = None,
) -> None:
    """Run the whole platform on this machine. The provider's key is read from FLOTILLA_MODEL_API_KEY."""
    plan = Plan(
        home=open_home(home),
        port=port,
        agents=find_agents(agents),
        replicas=parse_replicas(replicas),
        provider=parse_provider(model_base_url, model),
    )
    if detach:
        from flotilla_cli.platform.detached import start_detached

        start_detached(plan, [argument for argument in sys.argv[1:] if argument not in ("--detach", "-d")])
        return
    from flotilla_cli.platform.runner import run_platform

    run_platform(plan, Progress(plan.home, started_at=time.monotonic()).report)
