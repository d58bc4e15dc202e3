"""`/v1/runs/{run_id}`: the one view that the runs of every wire have."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from flotilla_common.errors import NotFoundError
from starlette.types import Scope as AsgiScope

from flotilla_gateway.clients.orchestrator import Orchestrator
from flotilla_gateway.model import Scope
from flotilla_gateway.wires.door import Door
from flotilla_gateway.wires.operations.shapes import run_object

EndUser = Annotated[str | None, Query(max_length=256, description="The end user, for keys with the scope act_as.")]


def run_routes(door: Door, orchestrator: Orchestrator) -> APIRouter:
    """Returns the routes."""
    router = APIRouter(tags=["Operations"])

    @router.get("/v1/runs/{run_id}")
    async def get_run(run_id: str, request: Request, user: EndUser = None) -> dict[str, Any]:
        """Returns a run: its status, answer, usage, and the error it ended with."""
        await _serve(door, request.scope, user)
        return run_object(await orchestrator.get_run(known_form(run_id)))

    @router.post("/v1/runs/{run_id}/cancel")
    async def cancel_run(run_id: str, request: Request, user: EndUser = None) -> dict[str, Any]:
        """Asks a run to stop; one that is finished stays as it is."""
        await _serve(door, request.scope, user)
        return run_object(await orchestrator.cancel_run(known_form(run_id)))

    return router


def known_form(run_id: str) -> str:
    """Returns a run id as it is kept. Raises NotFoundError for text that cannot be one."""
    try:
        return str(UUID(run_id.removeprefix("chatcmpl-")))
    except ValueError:
        raise NotFoundError("No such run.", reason="run_not_found") from None


async def _serve(door: Door, scope: AsgiScope, user: str | None) -> None:
    (await door.admit(scope, Scope.CHAT)).serve_as(user)
