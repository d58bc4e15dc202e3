"""A whole process, as `__main__` of a service is one: run by test_process with `python -m`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
from flotilla_common.serve import run, serve_grpc
from flotilla_common.settings import ServiceSettings
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

SERVICE = "flotilla.test.v1.TestService"


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="THING_")

    database_url: SecretStr


async def slow(request: bytes, context: Any) -> bytes:
    sys.stderr.write("started\n")
    await asyncio.sleep(float(request))
    return b"done"


async def held(request: bytes, context: Any) -> bytes:
    sys.stderr.write("started\n")
    await asyncio.to_thread(sys.stdin.readline)
    return b"done"


async def hand_back() -> None:
    sys.stderr.write("handed back\n")


async def main(settings: Settings) -> None:
    handlers: Any = {
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
        "Held": grpc.unary_unary_rpc_method_handler(held),
    }
    await serve_grpc(
        settings,
        service_name="memory",
        full_service_names=[SERVICE],
        register=lambda server: server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        ),
        drain=hand_back,
    )


if __name__ == "__main__":
    run(main, Settings, service_name="memory")
