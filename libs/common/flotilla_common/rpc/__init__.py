"""gRPC at both ends: what every server does around a method, and what every client does around a call."""
