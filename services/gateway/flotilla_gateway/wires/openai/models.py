"""`GET /v1/models`: the agents."""

from __future__ import annotations

from fastapi import APIRouter, Request
from flotilla.orchestrator.v1.thread_pb2 import Agent
from flotilla_common.errors import NotFoundError
from pydantic import BaseModel

from flotilla_gateway.clients.orchestrator import Orchestrator
from flotilla_gateway.model import Scope
from flotilla_gateway.wires.door import Door
from flotilla_gateway.wires.openai.errors import model_not_found


class Model(BaseModel):
    """An agent as this wire shows it."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "flotilla"


class ModelList(BaseModel):
    """All agents."""

    object: str = "list"
    data: list[Model]


def model_routes(door: Door, orchestrator: Orchestrator) -> APIRouter:
    """Returns the routes."""
    router = APIRouter(tags=["OpenAI"])

    @router.get("/v1/models")
    async def list_models(request: Request) -> ModelList:
        """Lists the agents."""
        (await door.admit(request.scope, Scope.CHAT)).serve_as()
        agents = await orchestrator.list_agents()
        return ModelList(data=[_to_model(agent, agent.name) for agent in agents])

    @router.get("/v1/models/{model}")
    async def get_model(model: str, request: Request) -> Model:
        """Returns one agent, by `name` or `name@release` of its active release."""
        (await door.admit(request.scope, Scope.CHAT)).serve_as()
        name, _, release = model.partition("@")
        try:
            agent = await orchestrator.get_agent(name)
        except NotFoundError:
            raise model_not_found(model) from None
        if release and not (len(release) >= 8 and agent.release.startswith(release)):
            raise model_not_found(model)
        return _to_model(agent, model)

    return router


def _to_model(agent: Agent, name: str) -> Model:
    return Model(id=name, created=agent.create_time.seconds)
