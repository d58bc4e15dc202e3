"""Runs: started, watched, read and cancelled for their owners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from flotilla_common.identity import Identity

from flotilla_orchestrator.graphs.catalogue import AgentCatalogue, Release
from flotilla_orchestrator.model import NewRun, Run
from flotilla_orchestrator.runs.engine import RunEngine
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.watch import RunView
from flotilla_orchestrator.service.checks import check_messages, check_options, check_span, check_tool_names, page_of
from flotilla_orchestrator.service.conversation import Conversations, StartRequest, Target
from flotilla_orchestrator.stores.run_reader import RunReader
from flotilla_orchestrator.stores.run_store import RunStore
from flotilla_orchestrator.stores.thread_store import ThreadStore

DEFAULT_PAGE = 50


class RunService:
    """Starts runs of agents and gives access to the caller's own."""

    def __init__(
        self,
        *,
        catalogue: AgentCatalogue,
        engine: RunEngine,
        store: RunStore,
        reader: RunReader,
        threads: ThreadStore,
        conversations: Conversations,
    ) -> None:
        self._catalogue = catalogue
        self._engine = engine
        self._store = store
        self._reader = reader
        self._threads = threads
        self._conversations = conversations

    async def start(self, identity: Identity, request: StartRequest) -> RunView:
        """Accepts a run and returns the view of it, or of its twin.

        Raises NotFoundError (agent, release, thread), InvalidArgumentError naming the field, AbortedError
        (thread_busy), FailedPreconditionError (idempotency_key_reused), ResourceExhaustedError and UnavailableError.
        """
        release = await self._catalogue.resolve(request.agent)
        check_options(request.work.options)
        check_span(request.time_limit_s, field="time_limit")
        check_tool_names(request.work.options.caller_tools, release.tools)
        check_messages(request.work.messages, request.work.resume)
        target = await self._conversations.target_of(identity, request)
        return await self._engine.start(_new_run(identity, request, release, target), release, request.work)

    async def watch(self, identity: Identity, run_id: UUID, *, after_sequence: int) -> RunView:
        """Returns a view of a run's events after a sequence number. Raises NotFoundError."""
        run = await self.get(identity, run_id)
        return self._engine.watch(run, after_sequence=after_sequence)

    async def get(self, identity: Identity, run_id: UUID) -> Run:
        """Returns a run. Raises NotFoundError."""
        return await self._reader.get_run(run_id, tenant_id=identity.tenant_id, user_id=identity.user_id)

    async def list(
        self, identity: Identity, thread_id: UUID, *, before: UUID | None, page_size: int
    ) -> tuple[Sequence[Run], UUID | None]:
        """Returns a page of a thread's runs, newest first, and where the next one begins. Raises NotFoundError."""
        owner = {"tenant_id": identity.tenant_id, "user_id": identity.user_id}
        await self._threads.get(thread_id, **owner)
        size = page_of(page_size, default=DEFAULT_PAGE)
        found = await self._reader.list_runs(thread_id, **owner, before=before, limit=size + 1)
        return found[:size], found[size - 1].run_id if len(found) > size else None

    async def cancel(self, identity: Identity, run_id: UUID) -> Run:
        """Asks a run to stop, wherever it is executed, and returns it. Raises NotFoundError."""
        run = await self._store.request_cancel(run_id, tenant_id=identity.tenant_id, user_id=identity.user_id)
        self._engine.cancel(run_id)
        return run


def _new_run(identity: Identity, request: StartRequest, release: Release, target: Target) -> NewRun:
    return NewRun(
        run_id=request.run_id,
        tenant_id=identity.tenant_id,
        user_id=identity.user_id,
        remembers=identity.remembers,
        thread_id=target.thread_id,
        create_thread=target.may_create,
        thread_ttl_s=target.ttl_s,
        agent=release.agent,
        release=release.hash,
        wire=request.wire,
        idempotency_key=request.idempotency_key,
        body_hash=request.body_hash,
        input=request.stored,
        time_limit_s=request.time_limit_s or release.limits.time_limit_s,
        metadata=request.metadata,
        traceparent=request.traceparent,
        accepted_event=events.accepted(
            run_id=request.run_id,
            thread_id=target.thread_id,
            agent=release.agent,
            release=release.hash,
            at=datetime.now(UTC),
        ),
    )
