"""What the services see of the model layer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from flotilla_llm.model import ChatReply, ChatRequest, EmbeddingReply, StreamPart
from flotilla_llm.routes import Route


class ModelClient(Protocol):
    """Calls models by the names of their routes.

    Every method fails with
      UnavailableError         no route answered (`model_unavailable`, `model_rate_limited`, `model_saturated`,
                               `model_circuit_open`, `model_stream_broken`, `model_bad_reply`); may be retried later
      DeadlineExceededError    the last route was too slow (`model_timeout`)
      InvalidArgumentError     the provider refuses this request (`model_rejected`, `model_context_exceeded`)
      PermissionDeniedError    the provider's content filter refuses it (`model_content_filtered`)
      ResourceExhaustedError   the provider account's quota is spent (`model_quota_spent`)
      FailedPreconditionError  the route is set up wrongly (`model_credentials_refused`, `model_not_found`)
    """

    def stream(self, request: ChatRequest, *, routes: Sequence[str]) -> AsyncIterator[StreamPart]:
        """Yields the reply as it is made, a ReplyEnd last; `routes` are tried in order until one gives its first token.

        A consumer that stops early should close the iterator (`contextlib.aclosing`): that hangs up at once.
        """
        ...

    async def complete(self, request: ChatRequest, *, routes: Sequence[str]) -> ChatReply:
        """Returns the whole reply of the first of `routes` that answers."""
        ...

    async def embed(self, texts: Sequence[str], *, route: str) -> EmbeddingReply:
        """Returns one vector a text; an embedding has no fallback, because another model's vectors do not compare."""
        ...

    def route(self, name: str) -> Route:
        """Returns what is known about a route, such as its context window. Raises NotFoundError."""
        ...
