"""The HTTP application: layers and wires put together, and nothing that decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from flotilla_common.lifecycle import Work
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from flotilla_gateway.clients.memory import Memories
from flotilla_gateway.clients.orchestrator import Orchestrator
from flotilla_gateway.clients.tool import Tools
from flotilla_gateway.middleware.body import BodyMiddleware
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
class Bounds:
    """What a request may weigh."""

    max_body_bytes: int = 1_000_000
    max_json_depth: int = 64
    body_timeout_s: float = 15.0


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


def create_app(parts: Parts) -> FastAPI:
    """Returns the application."""
    app = FastAPI(
        title="Flotilla",
        version=version("flotilla-gateway"),
        redoc_url=None,
        # A redirect would name the host that we see, not the one that the client asked.
        redirect_slashes=False,
        swagger_ui_oauth2_redirect_url=None,
        exception_handlers={HTTPException: raise_http_error, RequestValidationError: raise_validation_error},
    )
    _add_wires(app, parts)
    _add_layers(app, parts)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's own way to extend its schema
    return app


def _add_wires(app: FastAPI, parts: Parts) -> None:
    # The busy paths come first: routes are tried in order.
    chat = ChatCompletions(parts.door, parts.orchestrator, parts.canceller, parts.patience)
    events = RunEvents(parts.door, parts.orchestrator, parts.patience)
    app.router.routes[:0] = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/embeddings", Embeddings(parts.door, parts.orchestrator), methods=["POST"]),
        Route("/v1/runs/{run_id}/events", events, methods=["GET"]),
    ]
    app.include_router(model_routes(parts.door, parts.orchestrator))
    app.include_router(run_routes(parts.door, parts.orchestrator))
    app.include_router(key_routes(parts.door, parts.keys))
    app.include_router(leaf_routes(parts.door, parts.memories, parts.tools))
    app.include_router(status_routes(parts.readiness))


def _add_layers(app: FastAPI, parts: Parts) -> None:
    """Adds the layers, the innermost first; the trace is begun outside of all of them."""
    bounds = parts.bounds
    app.add_middleware(
        BodyMiddleware,
        max_bytes=bounds.max_body_bytes,
        max_depth=bounds.max_json_depth,
        timeout_s=bounds.body_timeout_s,
    )
    app.add_middleware(ErrorMiddleware)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=parts.origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        allow_headers=_ALLOWED_HEADERS,
        expose_headers=_EXPOSED_HEADERS,
    )
    Instrumentator(excluded_handlers=_NOT_OBSERVED).instrument(
        app, metric_namespace="flotilla", metric_subsystem="gateway"
    )
    app.add_middleware(EdgeMiddleware, work=parts.work)
    FastAPIInstrumentor.instrument_app(
        app, excluded_urls=",".join(f"{path}$" for path in _NOT_OBSERVED), exclude_spans=["send", "receive"]
    )
