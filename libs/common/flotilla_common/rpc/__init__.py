"""gRPC at both ends: what every server does around a method, and what every client does around a call."""

import os

# The event engine, the default since gRPC 1.80, hands a message from its poller to a worker to the completion queue and
# then to the loop. Without it the completion queue polls by itself, and a call alone takes three quarters of the time.
# gRPC reads this when it makes its first channel or server.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")
