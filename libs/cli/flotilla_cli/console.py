"""How the command speaks: one console for answers, one for everything else."""

import os
from collections.abc import Iterable, Sequence
from typing import IO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 1_000


class PersistentConsole(Console):
    """Goes on in silence when nobody reads any more: `up | head` must not end what runs."""

    def on_broken_pipe(self) -> None:
        """Lets everything that is written from now on go nowhere."""
        discard(self.file)


def discard(stream: IO[str]) -> None:
    """Points the stream's descriptor at nothing, so that no later write or flush fails."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table; a cell is never shortened, because people copy from it."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    needed = Measurement.get(out, out.options.update(width=_WIDEST), table).maximum
    PersistentConsole(highlight=False, width=max(out.width, needed)).print(table, crop=False)


out = PersistentConsole(highlight=False, soft_wrap=True)
err = PersistentConsole(highlight=False, soft_wrap=True, stderr=True)
