"""Turns what nobody caught into a reply: our errors as they are, anything else as an error id and nothing more."""

from __future__ import annotations

import logging

from flotilla_common.errors import FlotillaError, InternalError
from flotilla_common.ids import new_id
from starlette.types import ASGIApp, Receive, Scope, Send

from flotilla_gateway.wires.reply import send_error

logger = logging.getLogger(__name__)


class ErrorMiddleware:
    """Answers errors in the shape of the wire that was asked."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request, or answers why not."""
        try:
            await self._app(scope, receive, send)
        except FlotillaError as error:
            if scope["state"]["exchange"].is_answered:
                raise
            await send_error(scope, send, _shown(error))
        except Exception as error:  # the interceptor of this wire: nothing may reach a caller unshaped
            shown = _unexpected(error)
            if scope["state"]["exchange"].is_answered:
                raise
            await send_error(scope, send, shown)


def _shown(error: FlotillaError) -> FlotillaError:
    # An inner service's defect is logged there under the same trace; its text is not for callers.
    return _unexpected(error) if type(error) is InternalError else error


def _unexpected(error: Exception) -> InternalError:
    error_id = str(new_id())
    logger.error("Unexpected error", exc_info=error, extra={"error_id": error_id})
    return InternalError(f"Internal error. error_id={error_id}", reason="internal_error")
