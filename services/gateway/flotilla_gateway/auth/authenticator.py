"""The seam between the wires and whatever proves who is calling."""

from __future__ import annotations

from typing import Protocol

from flotilla_gateway.model import Origin, Principal


class Authenticator(Protocol):
    """Turns a credential into a caller."""

    async def authenticate(self, credential: str, origin: Origin) -> Principal:
        """Returns who the credential belongs to.

        Raises UnauthenticatedError for a credential that is unknown, expired or revoked, and UnavailableError when
        nobody can tell at the moment.
        """
        ...
