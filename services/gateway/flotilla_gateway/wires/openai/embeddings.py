"""`POST /v1/embeddings`: the platform's embedding route."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from flotilla_gateway import model
from flotilla_gateway.clients.orchestrator import Orchestrator
from flotilla_gateway.wires.door import Door
from flotilla_gateway.wires.openai.parse import parse_json, validated
from flotilla_gateway.wires.openai.schema import EmbeddingsRequest
from flotilla_gateway.wires.reply import send_json


class Embeddings:
    """Embeds texts."""

    def __init__(self, door: Door, orchestrator: Orchestrator) -> None:
        self._door = door
        self._orchestrator = orchestrator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        caller = await self._door.admit(scope, model.Scope.EMBEDDINGS)
        request = validated(EmbeddingsRequest, parse_json((await receive())["body"]))
        caller.serve_as(request.user)
        made = await self._orchestrator.create_embeddings(request.input, model=request.model)
        encode = to_base64 if request.encoding_format == "base64" else list
        data = [
            {"object": "embedding", "index": index, "embedding": encode(embedding.values)}
            for index, embedding in enumerate(made.embeddings)
        ]
        used = {"prompt_tokens": made.input_tokens, "total_tokens": made.input_tokens}
        reply: dict[str, Any] = {"object": "list", "data": data, "model": made.model, "usage": used}
        await send_json(send, orjson.dumps(reply))


def to_base64(values: Sequence[float]) -> str:
    """Returns a vector as base64 of little-endian 32-bit floats, which is what the SDK asks for."""
    floats = array("f", values)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
