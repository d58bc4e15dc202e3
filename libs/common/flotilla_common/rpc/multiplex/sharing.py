"""Decides for each call whether it shares a stream or has one of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from prometheus_client import Counter

from flotilla_common.identity import Identity
from flotilla_common.rpc.multiplex.bounds import LARGEST_PIECE, Metadata
from flotilla_common.rpc.multiplex.call import Method, StreamedCall
from flotilla_common.rpc.multiplex.streams import CallStreams

ShortStreams = Mapping[str, Callable[[Any], bool]]
NO_SHORT_STREAMS: ShortStreams = MappingProxyType({})
_SENT = Counter("flotilla_rpc_sent", "Calls that could share a stream, by what they went over.", ["transport"])
_SHARED, _PLAIN = _SENT.labels("shared"), _SENT.labels("plain")


def sharing(
    kind: type[StreamedCall],
    streams: CallStreams,
    path: str,
    plain: Callable[..., Any],
    request_serializer: Callable[[Any], bytes] | None = None,
    response_deserializer: Callable[[bytes], Any] | None = None,
    _registered_method: bool | None = None,
    *,
    may_share: Callable[[Any], bool] | None = None,
) -> Callable[..., Any]:
    """Returns a callable that calls a method over a shared stream if it may and one is up, else over plain gRPC."""
    method = Method(path, plain, response_deserializer)

    def start(
        request: Any, *, timeout: float | None, metadata: Metadata, identity: Identity | None, **options: Any
    ) -> Any:
        if not options and (may_share is None or may_share(request)):
            stream = streams.pick()
            if stream is not None:
                data = request if request_serializer is None else request_serializer(request)
                if len(data) <= LARGEST_PIECE:
                    call = kind(streams, method, request, data, metadata, identity, timeout)
                    call.start(stream)
                    _SHARED.inc()
                    return call
        _PLAIN.inc()
        return plain(request, timeout=timeout, metadata=metadata, identity=identity, **options)

    return start
