"""Channels to other services: balanced, health-checked, retried, kept alive, with identity and deadline on every call.

A thin wrapper around grpc.aio's channel instead of its client interceptors: those start one more task for every call.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import grpc
from grpc import aio
from opentelemetry.trace import Span, StatusCode

from flotilla_common.identity import Identity, IdentitySigner
from flotilla_common.rpc.multiplex.call import StreamedCall
from flotilla_common.rpc.multiplex.calls import AnswersCall, UnaryCall
from flotilla_common.rpc.multiplex.sharing import NO_SHORT_STREAMS, ShortStreams, sharing
from flotilla_common.rpc.multiplex.streams import CallStreams
from flotilla_common.rpc.outgoing import Metadata, Outgoing
from flotilla_common.rpc.policy import FIRST_BACKOFF_S, LARGEST_MESSAGE, LONGEST_BACKOFF_S, MOST_ATTEMPTS
from flotilla_common.rpc.trace_context import start_client_span

DEFAULT_TIMEOUT_S = 10.0
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": MOST_ATTEMPTS,
                "initialBackoff": f"{FIRST_BACKOFF_S:g}s",
                "maxBackoff": f"{LONGEST_BACKOFF_S:g}s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    # A restarted peer is found again within seconds; gRPC's own back-off grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Two channels to one address must not share a connection's back-off or keys.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


@asynccontextmanager
async def open_channel(
    target: str,
    *,
    audience: str,
    signer: IdentitySigner | None,
    default_timeout_s: float = DEFAULT_TIMEOUT_S,
    credentials: grpc.ChannelCredentials | None = None,
    multiplexed: bool = True,
    short_streams: ShortStreams = NO_SHORT_STREAMS,
) -> AsyncIterator[aio.Channel]:
    """Opens a channel to a service, given as `dns:///name:port`, `host:port`, or addresses with commas between them.

    signer: vouches for the current identity towards the audience; None sends no identity.
    default_timeout_s: for calls with one answer, where the caller names no limit.
    multiplexed: lets calls with one request and one answer share streams, once such are up.
    short_streams: says for a method that streams answers, by its path, whether the answers to a request are so few and
        small that the call may share a stream too.
    """
    address = resolvable(target)
    if credentials is None:
        plain = aio.insecure_channel(address, options=OPTIONS)
    else:
        plain = aio.secure_channel(address, credentials, options=OPTIONS)
    outgoing = Outgoing(audience=audience, signer=signer, default_timeout_s=default_timeout_s)
    async with (
        plain,
        Channel(plain, outgoing, CallStreams(plain, outgoing) if multiplexed else None, short_streams) as channel,
    ):
        yield channel


def resolvable(target: str) -> str:
    """Returns the target as gRPC reads it; several addresses become one `ipv4:` or `ipv6:` target."""
    if "," not in target:
        return target
    addresses = [address.strip().removeprefix("ipv4:").removeprefix("ipv6:") for address in target.split(",")]
    try:
        versions = {ip_address(address.rpartition(":")[0].strip("[]")).version for address in addresses}
    except ValueError as exc:
        raise ValueError(f"several targets must be IP addresses with ports: {target!r}") from exc
    if len(versions) != 1:
        raise ValueError(f"several targets must be of one IP version: {target!r}")
    return f"ipv{versions.pop()}:{','.join(addresses)}"


class Channel(aio.Channel):
    """A channel whose calls carry what the current request says, and share streams where they can."""

    def __init__(
        self,
        plain: aio.Channel,
        outgoing: Outgoing,
        streams: CallStreams | None = None,
        short_streams: ShortStreams = NO_SHORT_STREAMS,
    ) -> None:
        self._plain = plain
        self._outgoing = outgoing
        self._streams = streams
        self._short_streams = short_streams

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Returns a callable for a method with one request and one answer."""
        start = self._signing(self._plain.unary_unary(method, *args, **kwargs))
        if self._streams is not None:
            start = sharing(UnaryCall, self._streams, method, start, *args, **kwargs)
        return self._wrap(start, method, answers_once=True)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Returns a callable for a method that streams answers."""
        start = self._signing(self._plain.unary_stream(method, *args, **kwargs))
        is_short = self._short_streams.get(method)
        if self._streams is not None and is_short is not None:
            start = sharing(AnswersCall, self._streams, method, start, *args, **kwargs, may_share=is_short)
        return self._wrap(start, method, answers_once=False)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Returns a callable for a method that streams requests."""
        return self._wrap(self._signing(self._plain.stream_unary(method, *args, **kwargs)), method, answers_once=True)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Returns a callable for a method that streams both ways."""
        return self._wrap(self._signing(self._plain.stream_stream(method, *args, **kwargs)), method, answers_once=False)

    def _signing(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a callable that takes for whom the call is and tells it by a token."""
        outgoing = self._outgoing

        def start(request: Any, *, metadata: Metadata, identity: Identity | None, **options: Any) -> Any:
            return plain(request, metadata=outgoing.signed(metadata, identity), **options)

        return start

    def _wrap(self, start: Callable[..., Any], method: str, *, answers_once: bool) -> Callable[..., Any]:
        outgoing = self._outgoing

        def call(
            request: Any = None, *, timeout: float | None = None, metadata: Metadata | None = None, **options: Any
        ) -> Any:
            span = start_client_span(method)
            given = tuple(metadata or ())
            started = start(
                request,
                timeout=outgoing.timeout_s(timeout, answers_once=answers_once),
                metadata=outgoing.metadata(given, span),
                identity=outgoing.identity(given),
                **options,
            )
            if span is not None:
                started.add_done_callback(_ends(span))
            return started

        return call

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Returns the connectivity of the channel."""
        return self._plain.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits until the connectivity is another."""
        await self._plain.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until a backend is connected and healthy."""
        await self._plain.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Closes the channel; calls in flight get the grace in seconds, if they have a stream of their own."""
        if self._streams is not None:
            await self._streams.close()
        await self._plain.close(grace)

    async def __aenter__(self) -> Channel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _ends(span: Span) -> Callable[[Any], None]:
    def end(call: Any) -> None:
        code = _code_of(call)
        span.set_attribute("rpc.grpc.status_code", code)
        if code != 0:
            span.set_status(StatusCode.ERROR)
        span.end()

    return end


def _code_of(call: Any) -> int:
    if isinstance(call, StreamedCall):
        return int((call.known_code or grpc.StatusCode.UNKNOWN).value[0])
    # The call is done, so its code is there without waiting; only a private attribute has it outside of a task.
    status = getattr(getattr(call, "_cython_call", None), "_status", None)
    return int(status.code() if status is not None else grpc.StatusCode.UNKNOWN.value[0])
