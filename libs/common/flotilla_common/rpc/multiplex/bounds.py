"""What both ends of a stream of calls agree on."""

from __future__ import annotations

from collections.abc import Iterable

from flotilla.common.v1.call_service_pb2 import MetadataItem

CONNECT = "/flotilla.common.v1.CallService/Connect"
SERVER_KEY = "x-flotilla-server"
"""In the initial metadata: an id of the server's own, by which callers tell servers behind one name apart."""
SESSION_KEY = "x-flotilla-session"
"""In the metadata of a stream: the token by which the caller begins a session."""
SESSION_ANSWER_KEY = "x-flotilla-session-bin"
"""In the initial metadata: the server's part of the session's key."""
SEAL_KEY = "x-flotilla-seal-bin"
"""In the metadata of a call on a stream with a session: for whom it is, and the proof, in place of a token."""
MOST_CALLS = 2048
"""That a caller has open on one stream; what comes on top goes over plain gRPC.

So high because grpc.aio takes in one plain call a turn of its loop: under load, those on top of the bound wait long
behind the others.
"""
MOST_SERVED_CALLS = 2 * MOST_CALLS
"""That a server serves on one stream: those that were given up may still be ending."""
LARGEST_PIECE = 256 * 1024
"""A larger request goes over plain gRPC and a larger answer in pieces, so that nobody waits long behind it."""
LARGEST_BATCH = 1024 * 1024
"""A batch takes no more frames once it has this size; with one piece on top it is far below gRPC's own limit."""
Metadata = tuple[tuple[str, str | bytes], ...]


def pack_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> list[MetadataItem]:
    """Returns headers as they travel."""
    return [
        MetadataItem(key=key, value=value.encode("ascii", "replace") if isinstance(value, str) else value)
        for key, value in metadata
    ]


def unpack_metadata(items: Iterable[MetadataItem]) -> Metadata:
    """Returns headers as gRPC shows them: text unless the key ends in "-bin"."""
    return tuple(
        (item.key, item.value if item.key.endswith("-bin") else item.value.decode("ascii", "replace")) for item in items
    )
