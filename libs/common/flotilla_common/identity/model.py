"""Who a request is for: the one value that the signed token carries between services."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller as the gateway, or for a run the orchestrator, vouches for it."""

    tenant_id: UUID
    user_id: UUID
    """The person or application user that threads, runs and memories belong to."""
    remembers: bool = True
    """False for a key that acts for many people and named none: no long-term memory, so that people never share one."""
    scopes: frozenset[str] = frozenset()
    """What the credential may do, such as "chat", "act_as", "admin"."""
    run_id: UUID | None = None
    """The run on whose behalf the orchestrator calls."""
