"""Calls that carry many requests: each is for an identity of its own, which a token names, and fails by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # it has no stubs

from flotilla_common.errors import FlotillaError, InternalError, InvalidArgumentError
from flotilla_common.identity import Identity, IdentityVerifier
from flotilla_common.ids import new_id
from flotilla_common.request import RequestContext, current_request, enter_request
from flotilla_common.rpc.details import pack, unpack
from flotilla_common.rpc.failure import INTERNAL_MESSAGE
from flotilla_common.status import code_of_number, error_for, grpc_code

MOST_ITEMS = 100
_log = logging.getLogger(__name__)


class BatchItem(Protocol):
    """A request that says for whom it is."""

    @property
    def identity_token(self) -> str:
        """The signed token, as in a call's metadata; none where one token names all."""


Item = TypeVar("Item", bound=BatchItem)
Result = TypeVar("Result")


async def serve_each(
    items: Sequence[Item],
    serve: Callable[[Item], Awaitable[Result]],
    *,
    verifier: IdentityVerifier,
    field: str,
    identities_token: str = "",
) -> list[Result | FlotillaError]:
    """Serves items side by side, each as a request of its own, and returns results or what they failed with, in order.

    An item is for whom a token names, the one for all of them or its own, and never for whom the call names, so that
    one call may hold many tenants' and still nobody says more than the issuers signed.

    Raises InvalidArgumentError when there are none, too many, or another number than `identities_token` names, and
    UnauthenticatedError when that one is not valid.
    """
    if not 1 <= len(items) <= MOST_ITEMS:
        raise InvalidArgumentError(f"A batch has 1 to {MOST_ITEMS} items.", field=field)
    if identities_token:
        identities = verifier.verify_all(identities_token)
        if len(identities) != len(items):
            raise InvalidArgumentError("The token names another number of identities.", field="identities_token")
        serving = [_serve_as(identity, item, serve) for identity, item in zip(identities, items, strict=True)]
    else:
        serving = [_serve(item, serve, verifier) for item in items]
    outcomes = await asyncio.gather(*serving, return_exceptions=True)
    return [_known(outcome) if isinstance(outcome, BaseException) else outcome for outcome in outcomes]


def pack_error(error: FlotillaError) -> bytes:
    """Returns what an item's result says of its failure."""
    return pack(error, grpc_code(error))


def error_in(packed: bytes) -> FlotillaError | None:
    """Returns the failure that an item's result tells of, or None when it tells of none."""
    if not packed:
        return None
    details, status = unpack(packed), Status.FromString(packed)
    code = code_of_number(status.code)
    if details is None:
        return error_for(code, status.message)
    return error_for(
        code, status.message, reason=details.reason, field=details.field, retry_after_s=details.retry_after_s
    )


async def _serve(item: Item, serve: Callable[[Item], Awaitable[Result]], verifier: IdentityVerifier) -> Result:
    return await _serve_as(verifier.verify(item.identity_token), item, serve)


async def _serve_as(identity: Identity, item: Item, serve: Callable[[Item], Awaitable[Result]]) -> Result:
    call = current_request()
    # Entered in this item's own task: the call and its other items keep theirs.
    enter_request(RequestContext(identity, str(identity.run_id or call.request_id), deadline=call.deadline))
    return await serve(item)


def _known(outcome: BaseException) -> FlotillaError:
    if isinstance(outcome, FlotillaError):
        return outcome
    if not isinstance(outcome, Exception):
        raise outcome
    _log.error("a batch's item failed unexpectedly", exc_info=outcome, extra={"error_id": str(new_id())})
    return InternalError(INTERNAL_MESSAGE, reason="internal")
