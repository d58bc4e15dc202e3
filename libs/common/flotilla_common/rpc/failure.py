"""Turns what a method raises into the status that its caller sees."""

from __future__ import annotations

import logging
from typing import Never

from grpc import StatusCode

from flotilla_common.errors import FlotillaError, InternalError
from flotilla_common.ids import new_id
from flotilla_common.rpc.call import ServedCall
from flotilla_common.rpc.details import DETAILS_KEY, pack
from flotilla_common.status import OUR_FAULT, grpc_code

INTERNAL_MESSAGE = "internal error"
_log = logging.getLogger(__name__)


async def fail(call: ServedCall, error: FlotillaError) -> Never:
    """Ends the call with the error's status, reason, field and retry time."""
    call.error, call.code = error, grpc_code(error)
    if call.code in OUR_FAULT:
        _log.error("rpc failed", exc_info=error, extra={"reason": error.reason})
    await call.context.abort(call.code, error.message, ((DETAILS_KEY, pack(error, call.code)),))


async def fail_unexpectedly(call: ServedCall, exception: Exception) -> Never:
    """Ends the call as INTERNAL; what happened, and under which error_id, only our log knows."""
    call.code = StatusCode.INTERNAL
    _log.error("rpc failed unexpectedly", exc_info=exception, extra={"error_id": str(new_id())})
    packed = pack(InternalError(INTERNAL_MESSAGE, reason="internal"), call.code)
    await call.context.abort(call.code, INTERNAL_MESSAGE, ((DETAILS_KEY, packed),))
