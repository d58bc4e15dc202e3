"""How the command speaks: one console for answers, one for everything else."""

import os
from typing import IO

from rich.console import Console


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


out = PersistentConsole(highlight=False, soft_wrap=True)
err = PersistentConsole(highlight=False, soft_wrap=True, stderr=True)
