"""The HTTP application: layers and wires put together, and nothing that decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from flotilla_common.lifecycle import Work
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from flotilla_gateway.clients.memory import Memories
from flotilla_gateway.clients.orchestrator import Orchestrator
from flotilla_gateway.clients.tool import Tools
from flotilla_gateway.metrics import http_metrics
from flotilla_gateway.middleware.body import BodyMiddleware, Bounds
from flotilla_gateway.middleware.busy import BusyPaths
from flotilla_gateway.middleware.edge import EdgeMiddleware
from flotilla_gateway.middleware.errors import ErrorMiddleware
from flotilla_gateway.runs.cancel import Canceller
from flotilla_gateway.runs.follow import Patience
from flotilla_gateway.service import KeyService
from flotilla_gateway.wires.door import Door
from flotilla_gateway.wires.openai.chat import ChatCompletions
from flotilla_gateway.wires.openai.embeddings import Embeddings
from flotilla_gateway.wires.openai.models import model_routes
from flotilla_gateway.wires.openapi import describe
from flotilla_gateway.wires.operations.events import RunEvents
from flotilla_gateway.wires.operations.keys import key_routes
from flotilla_gateway.wires.operations.leaves import leaf_routes
from flotilla_gateway.wires.operations.runs import run_routes
from flotilla_gateway.wires.operations.status import Readiness, status_routes
from flotilla_gateway.wires.reply import raise_http_error, raise_validation_error

# Accept and content-type are on every list already.
_ALLOWED_HEADERS = [
    "authorization", "x-api-key", "x-auth-scheme", "last-event-id", "cache-control", "idempotency-key", "x-thread-id",
]  # fmt: skip
# Without the first three LangGraph's clients lose the ids of their runs.
_EXPOSED_HEADERS = [
    "Content-Location", "Location", "X-Pagination-Total", "X-Pagination-Next",
    "x-request-id", "x-run-id", "retry-after",
]  # fmt: skip
_NOT_OBSERVED = ["/ok", "/health", "/ready"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the wires need, made elsewhere."""

    door: Door
    keys: KeyService
    orchestrator: Orchestrator
    memories: Memories
    tools: Tools
    canceller: Canceller
    readiness: Readiness
    work: Work
    patience: Patience = field(default_factory=Patience)
    bounds: Bounds = field(default_factory=Bounds)
    origins: list[str] = field(default_factory=list)


def create_app(parts: Parts) -> ASGIApp:
    """Returns the application: FastAPI's with all layers, and before it the short way for the busy paths."""
    busy: dict[str, ASGIApp] = {
        "/v1/chat/completions": ChatCompletions(parts.door, parts.orchestrator, parts.canceller, parts.patience),
        "/v1/embeddings": Embeddings(parts.door, parts.orchestrator),
    }
    bounded = {path: BodyMiddleware(endpoint, parts.bounds) for path, endpoint in busy.items()}
    return BusyPaths(_create_fastapi(parts, busy), bounded, work=parts.work, observe=http_metrics().observe)


def _create_fastapi(parts: Parts, busy: Mapping[str, ASGIApp]) -> FastAPI:
    app = FastAPI(
        title="Flotilla",
        version=version("flotilla-gateway"),
        redoc_url=None,
        # A redirect would name the host that we see, not the one that the client asked.
        redirect_slashes=False,
        swagger_ui_oauth2_redirect_url=None,
        exception_handlers={HTTPException: raise_http_error, RequestValidationError: raise_validation_error},
    )
    _add_wires(app, parts, busy)
    _add_layers(app, parts)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's own way to extend its schema
    return app


def _add_wires(app: FastAPI, parts: Parts, busy: Mapping[str, ASGIApp]) -> None:
    # The busy paths come first: routes are tried in order.
    events = RunEvents(parts.door, parts.orchestrator, parts.patience)
    raw = [
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in busy.items()),
        Route("/v1/runs/{run_id}/events", events, methods=["GET"]),
    ]
    app.router.routes[:0] = raw
    routers = [
        model_routes(parts.door, parts.orchestrator),
        run_routes(parts.door, parts.orchestrator),
        key_routes(parts.door, parts.keys),
        leaf_routes(parts.door, parts.memories, parts.tools),
        status_routes(parts.readiness),
    ]
    for router in routers:
        app.include_router(router)
    routes = chain(raw, *(router.routes for router in routers))
    http_metrics().expect(route for route in routes if isinstance(route, Route) and route.path not in _NOT_OBSERVED)


def _add_layers(app: FastAPI, parts: Parts) -> None:
    """Adds the layers, the innermost first; the trace is begun outside of all of them."""
    app.add_middleware(BodyMiddleware, bounds=parts.bounds)
    app.add_middleware(ErrorMiddleware)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=parts.origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        allow_headers=_ALLOWED_HEADERS,
        expose_headers=_EXPOSED_HEADERS,
    )
    Instrumentator(excluded_handlers=_NOT_OBSERVED).add(http_metrics().observe).instrument(app)
    app.add_middleware(EdgeMiddleware, work=parts.work)
    FastAPIInstrumentor.instrument_app(
        app, excluded_urls=",".join(f"{path}$" for path in _NOT_OBSERVED), exclude_spans=["send", "receive"]
    )
