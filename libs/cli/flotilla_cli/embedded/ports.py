"""Free ports on the loopback interface."""

import random
import socket

LOOPBACK = "127.0.0.1"

# Below every usual ephemeral range, so that no outgoing connection takes the port between choosing and binding.
_RANGE = range(20_000, 30_000)


def is_free(port: int) -> bool:
    """Says whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(taken: frozenset[int] | set[int] = frozenset()) -> int:
    """Returns a port that is free now and is not among those already promised to somebody."""
    chance = random.SystemRandom()
    for _ in range(1_000):
        port = chance.choice(_RANGE)
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port between {_RANGE.start} and {_RANGE.stop}")
