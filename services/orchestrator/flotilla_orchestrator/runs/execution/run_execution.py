"""One run from its beginning, or from where an earlier attempt stopped, to its end in the database."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from flotilla_common.logs import bind_log_fields
from flotilla_common.request import acting_as
from flotilla_llm.client import ModelClient

from flotilla_orchestrator.clients.memory import MemoryClient
from flotilla_orchestrator.clients.tool import ToolClient
from flotilla_orchestrator.graphs.catalogue import AgentCatalogue, Release
from flotilla_orchestrator.graphs.foreign import to_message_dict
from flotilla_orchestrator.model import CheckpointRow, FinishedRun, OwnedRun, RunStatus, StoredEvent
from flotilla_orchestrator.runs.checkpoints.checkpoint_journal import CheckpointJournal
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.journal import LeaseLostError, RunJournal
from flotilla_orchestrator.runs.event_log.past import LoggedPast
from flotilla_orchestrator.runs.event_log.writer import GroupWriter
from flotilla_orchestrator.runs.execution.context import LiveRun, RunFacts
from flotilla_orchestrator.runs.execution.failures import CANCELLED, TIMED_OUT, Failure, failure_of
from flotilla_orchestrator.runs.execution.foreign import ForeignStream
from flotilla_orchestrator.runs.execution.graph_drive import FOREIGN, GraphDrive, GraphEnd
from flotilla_orchestrator.runs.execution.outcome import Turn, answer_of, outbox_of
from flotilla_orchestrator.runs.execution.recall import Recall, Recalled, identity_of
from flotilla_orchestrator.runs.execution.reply import ReplyStreamer
from flotilla_orchestrator.runs.execution.stop import StopReason, StopSignal
from flotilla_orchestrator.runs.execution.thread_states import RunState, ThreadStates
from flotilla_orchestrator.runs.execution.toolbox import Toolbox, ToolDirectory, definition
from flotilla_orchestrator.runs.execution.trace import run_span
from flotilla_orchestrator.runs.execution.work import RunWork, read_work
from flotilla_orchestrator.runs.metrics import RunMetrics

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What every execution of this process works with."""

    writer: GroupWriter
    catalogue: AgentCatalogue
    threads: ThreadStates
    models: ModelClient
    tools: ToolClient
    memory: MemoryClient
    directory: ToolDirectory
    metrics: RunMetrics
    recall: Recall


@dataclass(frozen=True, slots=True)
class Start:
    """What was begun for a new run before it is accepted."""

    work: RunWork
    recalled: Recalled | None


class RunExecution:
    """Executes one run that this process owns."""

    def __init__(
        self,
        run: OwnedRun,
        plan: Release | Failure,
        parts: Parts,
        *,
        journal: RunJournal,
        stop: StopSignal,
        past: LoggedPast,
        began: float,
        start: Start | None = None,
    ) -> None:
        """Takes what was begun for the run where it was accepted."""
        self._run = run
        self._plan = plan
        self._parts = parts
        self._past = past
        self._began = began
        self._start = start
        self._state: RunState | None = None
        self._foreign = ForeignStream(journal)
        self._live: LiveRun | None = None
        self.journal = journal
        self.stop = stop

    async def execute(self) -> None:
        """Runs the graph and ends the run; returns early when the run is somebody else's to go on with."""
        run = self._run
        bind_log_fields(run_id=run.run_id, thread_id=run.thread_id, agent=run.agent, release=run.release[:12])
        with (
            acting_as(identity_of(run), request_id=str(run.run_id)),
            run_span(f"invoke_agent {run.agent}", run.traceparent, self._span_attributes()),
        ):
            end = await self._conclude()
            self.stop.close()
            if end is not None and (stored := await self._parts.writer.finish(self.journal, end)):
                # Whoever waits for the answer goes first.
                await asyncio.sleep(0)
                self._note_end(stored.status)

    async def _conclude(self) -> FinishedRun | None:
        """Returns how the run ends, or None when it does not end here."""
        if not isinstance(self._plan, Release):
            return self._failed(self._plan)
        limit = asyncio.timeout(self._remaining_s())
        try:
            work = self._start.work if self._start else read_work(self._run.run_id, self._run.input)
            async with limit:
                end = await self._run_graph(work, self._plan)
            return self._ended(work, end, self._plan)
        except LeaseLostError:
            return None
        except asyncio.CancelledError:
            if self.stop.reason is None:
                raise
            self._uncancel()
            return self._failed(CANCELLED) if self.stop.reason is StopReason.CANCELLED else None
        except TimeoutError as error:
            return self._failed(TIMED_OUT if limit.expired() else failure_of(error))
        except Exception as error:  # noqa: BLE001 - the graph is anybody's code; failure_of logs what nobody foresaw
            return self._failed(failure_of(error))

    async def _run_graph(self, work: RunWork, release: Release) -> GraphEnd:
        self._live = live = await self._prepare(work, release)
        live.record_input(work.messages)
        graph = self._parts.catalogue.graph(release)
        self._state = state = self._parts.threads.open(
            self._run,
            release,
            graph,
            journal=CheckpointJournal(self.journal, self._past),
            is_new=work.is_new_thread and self._run.epoch == 1,
        )
        goes_on = self._run.epoch > 1 and await state.has_begun()
        if release.pattern == FOREIGN:
            self._discard_streamed()
        return await GraphDrive(graph, release.pattern, state, self._foreign).go(work, live, goes_on=goes_on)

    async def _prepare(self, work: RunWork, release: Release) -> LiveRun:
        """Asks the leaves for what the graph needs before its first step."""
        run, parts = self._run, self._parts
        tools = await parts.directory.definitions(release.tools, with_memory=run.remembers)
        facts = RunFacts(
            run_id=run.run_id,
            agent=run.agent,
            attempt=run.attempt,
            options=work.options,
            recalled=self._start.recalled if self._start else parts.recall.ask(run, work, release),
            tools=[definition(tool) for tool in tools],
        )
        return LiveRun(
            facts,
            journal=self.journal,
            past=self._past,
            replies=ReplyStreamer(
                parts.models,
                self.journal,
                past=self._past,
                stop=self.stop,
                metrics=parts.metrics,
                omits_tokens=work.omits_tokens,
            ),
            toolbox=Toolbox(
                parts.tools,
                parts.memory,
                run_id=run.run_id,
                allowed=release.tools,
                read_only=[tool.name for tool in tools if tool.is_read_only],
                metrics=parts.metrics,
            ),
            stop=self.stop,
        )

    def _ended(self, work: RunWork, end: GraphEnd, release: Release) -> FinishedRun:
        if end.interrupts:
            return self._waiting(end)
        live = self._live
        if live is None:
            raise AssertionError("a graph that ended has a live run")
        state = [to_message_dict(message) for message in end.values.get("messages", ())]
        answer = answer_of(
            state,
            caller_tools=[tool.name for tool in work.options.caller_tools],
            finish_reasons=live.finish_reasons,
        )
        if release.pattern == FOREIGN:
            self._foreign.answer(answer.message)
            live.transcript[answer.message.get("id", "")] = answer.message
        turn = Turn(
            run=self._run,
            release=release,
            is_stateless=work.is_stateless,
            answer=answer,
            state=state,
            transcript=list(live.transcript.values()),
            usage=live.usage,
            duration_s=time.monotonic() - self._began,
            failed_tool_calls=live.failed_tool_calls,
        )
        done = events.done(finish_reason=answer.finish_reason, answer=answer.message, usage=live.usage)
        return FinishedRun(
            run_id=self._run.run_id,
            epoch=self._run.epoch,
            status=RunStatus.SUCCEEDED,
            terminal_event=self._unnumbered(events.fitting(done)),
            finish_reason=answer.finish_reason,
            answer=answer.message,
            usage=live.usage,
            checkpoints=self._unwritten(),
            outbox=outbox_of(turn),
        )

    def _waiting(self, end: GraphEnd) -> FinishedRun:
        """Returns the end of a run that asks a person; the answer's run goes on from its checkpoint and writes."""
        asked = end.interrupts[0]
        payload = events.interrupted(interrupt_id=asked.id, value_json=events.json_of(asked.value))
        return FinishedRun(
            run_id=self._run.run_id,
            epoch=self._run.epoch,
            status=RunStatus.WAITING,
            terminal_event=self._unnumbered(events.fitting(payload)),
            usage=self._live.usage if self._live else (),
            checkpoints=self._unwritten(),
        )

    def _failed(self, failure: Failure) -> FinishedRun:
        status, error = failure
        usage = self._live.usage if self._live else self._past.usage
        return FinishedRun(
            run_id=self._run.run_id,
            epoch=self._run.epoch,
            status=status,
            terminal_event=self._unnumbered(events.failed(status=status, error=error, usage=usage)),
            error=error,
            usage=usage,
            checkpoints=self._unwritten(),
        )

    def _unwritten(self) -> Sequence[CheckpointRow]:
        return self._state.unwritten if self._state else ()

    def _unnumbered(self, payload: bytes) -> StoredEvent:
        """Returns an event whose number the writer gives, after everything that the journal still holds."""
        return StoredEvent(self._run.run_id, 0, payload)

    def _discard_streamed(self) -> None:
        """A foreign graph's replies get new ids, so that nothing can be compared: unfinished ones are discarded."""
        if self._past.streamed:
            self.journal.emit(
                events.reply_restarted(attempt=self._past.reply_attempt + 1, message_ids=list(self._past.streamed))
            )
            self._past.streamed.clear()

    def _remaining_s(self) -> float:
        return self._run.remaining_s - (time.monotonic() - self._began)

    def _uncancel(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()

    def _span_attributes(self) -> dict[str, str | int]:
        return {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": self._run.agent,
            "gen_ai.conversation.id": str(self._run.thread_id),
            "flotilla.run_id": str(self._run.run_id),
            "flotilla.attempt": self._run.attempt,
        }

    def _note_end(self, status: RunStatus) -> None:
        duration_s = time.monotonic() - self._began
        self._parts.metrics.finished[status].inc()
        self._parts.metrics.duration.observe(duration_s)
        _log.info("run ended", extra={"status": status.name.lower(), "duration_s": round(duration_s, 4)})
