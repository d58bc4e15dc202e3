"""The runs of this process: begun, resumed, stopped, handed back."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from flotilla_common.errors import ResourceExhaustedError, UnavailableError
from flotilla_common.lifecycle import stop_tasks

from flotilla_orchestrator.graphs.catalogue import Release
from flotilla_orchestrator.model import NewRun, OwnedRun, Run, RunStatus
from flotilla_orchestrator.runs.event_log.journal import RunJournal
from flotilla_orchestrator.runs.event_log.past import LoggedPast
from flotilla_orchestrator.runs.event_log.watch import RunView, WatchHub
from flotilla_orchestrator.runs.execution.failures import Failure
from flotilla_orchestrator.runs.execution.run_execution import Parts, RunExecution, Start
from flotilla_orchestrator.runs.execution.stop import StopReason, StopSignal
from flotilla_orchestrator.runs.execution.work import RunWork
from flotilla_orchestrator.runs.handback import ActiveRun, HandBack, wait_for_tasks
from flotilla_orchestrator.runs.lease import LeaseKeeper
from flotilla_orchestrator.stores.run_store import RunStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much one process takes on."""

    max_concurrent_runs: int = 500
    max_attempts: int = 3
    """Attempts that may crash before a run is given up."""
    drain_grace_s: float = 2.0
    """How long runs may go on by themselves before they are handed back."""
    stop_grace_s: float = 2.0
    """How long a stopped execution may take to let go."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What the engine works with beside the parts of an execution."""

    store: RunStore
    hub: WatchHub
    keeper: LeaseKeeper


class RunEngine:
    """Owns the runs of this process."""

    def __init__(
        self,
        parts: Parts,
        neighbours: Neighbours,
        *,
        owner: UUID,
        limits: EngineLimits = EngineLimits(),
        on_finished: Callable[[], None] = lambda: None,
    ) -> None:
        self._parts = parts
        self._store = neighbours.store
        self._hub = neighbours.hub
        self._keeper = neighbours.keeper
        self._limits = limits
        self._hand_back = HandBack(neighbours.store, owner, parts.metrics, limits.stop_grace_s)
        self._on_finished = on_finished
        self._active: dict[UUID, ActiveRun] = {}
        self._releases: set[asyncio.Task[None]] = set()
        self._on_cancelled_elsewhere: Callable[[], None] = lambda: None
        self.is_draining = False
        """Whether this process takes no more runs."""
        neighbours.keeper.on_lost(self.lose)
        neighbours.keeper.on_cancel(self.cancel)

    @property
    def free(self) -> int:
        """How many more runs this process takes; none while it drains."""
        return 0 if self.is_draining else max(0, self._limits.max_concurrent_runs - len(self._active))

    def owns(self, run_id: UUID) -> bool:
        """Whether this process executes the run, so that its watchers are told from memory."""
        return run_id in self._active

    async def start(self, new: NewRun, release: Release, work: RunWork) -> RunView:
        """Accepts and begins a run and returns the view of it, or of its twin that was accepted before.

        work: what the run's input says.

        Raises what stands in its way: NotFoundError, AbortedError, FailedPreconditionError, ResourceExhaustedError, and
        UnavailableError without a database.
        """
        self._admit()
        began = time.perf_counter()
        start = Start(work, self._parts.recall.ask(new, work, release))
        if start.recalled is not None:
            # One turn of the loop, in which the question leaves: the statement takes its time on this processor.
            await asyncio.sleep(0)
        view = self._hub.open(new.run_id, is_new=True)
        try:
            accepted = await self._parts.writer.accept(new, begin=partial(self._begin_new, new, release, start))
        except BaseException:
            view.close()
            raise
        if accepted:
            self._parts.metrics.accepted.labels(new.wire).inc()
            self._parts.metrics.first_event.observe(time.perf_counter() - began)
            return view
        view.close()
        return self.watch(await self._store.explain_refusal(new))

    def watch(self, run: Run, *, after_sequence: int = 0) -> RunView:
        """Returns a view of a run wherever it is executed."""
        has_ended = run.status.is_terminal or run.status is RunStatus.WAITING
        return self._hub.open(run.run_id, after_sequence=after_sequence, has_ended=has_ended)

    async def resume(self, run: OwnedRun, plan: Release | Failure, past: LoggedPast, *, since: float) -> None:
        """Goes on with a run whose lease was claimed after `since` (time.monotonic()); hands it back while draining."""
        await self._expel(run.run_id)
        if self.is_draining:
            await self._hand_back.release({run.run_id: run.epoch})
            return
        self._begin(run, plan, past, since=since)
        self._hub.reread(run.run_id)

    def cancel(self, run_id: UUID) -> None:
        """Stops a run of this process and ends it as cancelled; of another one's it says that there may be work."""
        if active := self._active.get(run_id):
            active.stop.request(StopReason.CANCELLED)
        else:
            self._on_cancelled_elsewhere()

    def on_cancelled_elsewhere(self, callback: Callable[[], None]) -> None:
        """Names who is told that a run of no execution here is to be cancelled."""
        self._on_cancelled_elsewhere = callback

    def lose(self, run_id: UUID, epoch: int) -> None:
        """Stops an epoch of a run that belongs to somebody else by now; nothing more of it is written here."""
        self._keeper.drop(run_id, epoch)
        active = self._active.get(run_id)
        if active is not None and active.run.epoch == epoch:
            active.journal.lose()

    def stop_claiming(self) -> None:
        """Takes no more runs; those there are go on."""
        self.is_draining = True

    async def drain(self) -> None:
        """Takes no more runs, lets those there are end for a moment, and hands the rest back."""
        self.stop_claiming()
        await wait_for_tasks(list(self._active.values()), self._limits.drain_grace_s)
        await self._hand_back.give(list(self._active.values()))
        await self._wait_for_releases()
        self._hub.close()

    async def close(self) -> None:
        """Stops every execution without a word; what is left of them is claimed when their leases end."""
        await stop_tasks([active.task for active in self._active.values()])
        await self._wait_for_releases()

    def _admit(self) -> None:
        metrics = self._parts.metrics
        if self.is_draining:
            metrics.refused["draining"].inc()
            raise UnavailableError("This process takes no more runs.", reason="draining", retry_after_s=1)
        if not self.free:
            metrics.refused["capacity"].inc()
            raise ResourceExhaustedError("Too many runs are under way.", reason="capacity", retry_after_s=1)

    def _begin_new(self, new: NewRun, release: Release, start: Start, since: float) -> None:
        run = OwnedRun(
            run_id=new.run_id,
            tenant_id=new.tenant_id,
            user_id=new.user_id,
            remembers=new.remembers,
            thread_id=new.thread_id,
            agent=new.agent,
            release=new.release,
            epoch=1,
            attempt=1,
            input=new.input,
            last_sequence=1,
            remaining_s=new.time_limit_s,
            traceparent=new.traceparent,
        )
        if self.is_draining:
            # Its start was on its way when this process stopped taking runs.
            task = asyncio.get_running_loop().create_task(self._hand_back.release({run.run_id: run.epoch}))
            self._releases.add(task)
            task.add_done_callback(self._releases.discard)
        else:
            self._begin(run, release, LoggedPast(), since=since, start=start)

    def _begin(
        self,
        run: OwnedRun,
        plan: Release | Failure,
        past: LoggedPast,
        *,
        since: float,
        start: Start | None = None,
    ) -> None:
        """Starts the execution in a task of its own, with nothing of whatever request it came by."""
        self._keeper.hold(run.run_id, run.epoch, since=since)
        journal = RunJournal(run.run_id, run.epoch, last_sequence=run.last_sequence)
        stop = StopSignal(has_lease=partial(self._keeper.has_lease, run.run_id, run.epoch))
        self._parts.writer.attach(journal, on_lost=partial(self._stop_lost, run, stop))
        execution = RunExecution(
            run, plan, self._parts, journal=journal, stop=stop, past=past, began=since, start=start
        )
        task = asyncio.get_running_loop().create_task(
            execution.execute(), name=f"run {run.run_id}", context=contextvars.Context()
        )
        stop.bind(task)
        self._active[run.run_id] = ActiveRun(run, journal, stop, task)
        self._parts.metrics.active.set(len(self._active))
        task.add_done_callback(partial(self._let_go, run))

    async def _wait_for_releases(self) -> None:
        if self._releases:
            await asyncio.wait(self._releases, timeout=self._limits.stop_grace_s)

    async def _expel(self, run_id: UUID) -> None:
        """Stops an earlier epoch of a run, such as of a process that was frozen and claimed its own run again."""
        if active := self._active.get(run_id):
            active.journal.lose()
            await asyncio.wait([active.task], timeout=self._limits.stop_grace_s)

    def _stop_lost(self, run: OwnedRun, stop: StopSignal) -> None:
        self._parts.metrics.lost_leases.inc()
        _log.warning("run lost to another owner", extra={"run_id": str(run.run_id), "epoch": run.epoch})
        self._keeper.drop(run.run_id, run.epoch)
        stop.request(StopReason.LOST)

    def _let_go(self, run: OwnedRun, task: asyncio.Task[None]) -> None:
        self._keeper.drop(run.run_id, run.epoch)
        active = self._active.get(run.run_id)
        if active is not None and active.task is task:
            del self._active[run.run_id]
        self._parts.metrics.active.set(len(self._active))
        self._on_finished()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an execution failed outside its graph", extra={"run_id": str(run.run_id)}, exc_info=error)
