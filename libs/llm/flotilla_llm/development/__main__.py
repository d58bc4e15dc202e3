"""Runs the development model: `python -m flotilla_llm.development --port 8090 [--script FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

import uvloop

from flotilla_llm.development.behaviour import Behaviour
from flotilla_llm.development.script import Script, load_script
from flotilla_llm.development.server import running_model

log = logging.getLogger("flotilla_llm.development")


def main() -> None:
    """Reads the arguments and serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="flotilla_llm.development", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--script", type=Path, help="rules for replies and faults, YAML or JSON")
    parser.add_argument("--token-delay-ms", type=float, default=0, help="pause between the tokens of every stream")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    script = load_script(arguments.script) if arguments.script else Script()
    behaviour = Behaviour(delay_ms=arguments.token_delay_ms)
    uvloop.run(serve(arguments.host, arguments.port, script, behaviour))


async def serve(host: str, port: int, script: Script, behaviour: Behaviour) -> None:
    """Serves until the process is told to end."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with running_model(host=host, port=port, script=script, behaviour=behaviour) as model:
        log.info(
            "The development model listens at %s: deterministic and keyless, it is no signal of any model's quality.",
            model.base_url,
        )
        await ended.wait()


if __name__ == "__main__":
    main()
