"""What `up` shows while it starts, and what it says once it is ready."""

import shlex
import time
from dataclasses import dataclass, field

from rich.markup import escape

from flotilla_cli.console import out
from flotilla_cli.home import Home
from flotilla_cli.supervisor.state import PlatformStatus, ProcessState, ProcessStatus

NO_QUALITY_SIGNAL = "The development model answers: deterministic, no key, and no signal of quality."
_QUESTION = '{"model": "assistant", "messages": [{"role": "user", "content": "What is 17 % of 2,349?"}]}'
_SHOWN = {
    ProcessState.READY: "[green]ready[/]",
    ProcessState.RESTARTING: "[yellow]crashed, starting again[/]",
    ProcessState.FAILED: "[red]failed[/]",
    ProcessState.STOPPED: "stopped",
}


@dataclass(slots=True)
class Progress:
    """Prints each process's change of state once, and the summary when all are ready."""

    home: Home
    started_at: float
    hint: str = "Ctrl-C stops it."
    _last: dict[str, ProcessState] = field(default_factory=dict)
    _has_summed_up: bool = False

    def report(self, status: PlatformStatus) -> None:
        """Takes notice of a status."""
        for process in status.processes:
            self._show(process)
        if status.is_ready and not self._has_summed_up:
            self._has_summed_up = True
            self._sum_up(status)

    def _show(self, process: ProcessStatus) -> None:
        label = f"{process.name}-{process.replica}"
        if self._last.get(label) is process.state:
            return
        self._last[label] = process.state
        if text := _SHOWN.get(process.state):
            out.print(f"  {label:<16} {text}  [dim]{self._elapsed_s():.1f} s[/]")

    def _sum_up(self, status: PlatformStatus) -> None:
        key = self.home.developer_key_file.read_text().strip()
        out.print(f"\n[bold green]Flotilla is ready[/] on {status.url} after {self._elapsed_s():.1f} s. {self.hint}\n")
        out.print(escape(curl(status.url, key)), style="bold")
        out.print()
        for command, effect in self._next_steps().items():
            out.print(f"  {escape(command)}   [dim]{effect}[/]")
        if status.development_model:
            out.print(f"\n[yellow]{NO_QUALITY_SIGNAL}[/]")

    def _next_steps(self) -> dict[str, str]:
        return {
            f'eval "$({self.home.command("env")})"': "points OpenAI's SDK at it",
            self.home.command("chat"): "talks in the terminal",
            self.home.command("status"): "shows every process",
        }

    def _elapsed_s(self) -> float:
        return time.monotonic() - self.started_at


def curl(url: str, key: str) -> str:
    """Returns a command that gets an answer."""
    return (
        f"curl {url}/v1/chat/completions -H 'Authorization: Bearer {key}' "
        f"-H 'Content-Type: application/json' -d {shlex.quote(_QUESTION)}"
    )
