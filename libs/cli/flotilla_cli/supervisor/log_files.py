"""Log files with a bound on their size."""

import os
import shutil
from pathlib import Path

BOUND_BYTES = 10 * 1024 * 1024


def open_log(file: Path) -> int:
    """Opens the file so that every write goes to its end, and returns the descriptor."""
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def bound_logs(folder: Path, bound_bytes: int = BOUND_BYTES) -> None:
    """Moves what files larger than the bound hold into `<name>.1`, replacing what that held."""
    for file in folder.glob("*.log"):
        if file.stat().st_size > bound_bytes:
            _roll(file)


def tail(file: Path, lines: int, *, at_most_bytes: int = 256 * 1024) -> list[str]:
    """Returns the last lines of the file; none when there is no file."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - at_most_bytes))
            return stream.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def _roll(file: Path) -> None:
    # Copied and cut rather than renamed: the writer keeps its descriptor, and appends to the start of the cut file.
    older = file.with_suffix(".log.1")
    shutil.copyfile(file, older)
    older.chmod(0o600)
    os.truncate(file, 0)
