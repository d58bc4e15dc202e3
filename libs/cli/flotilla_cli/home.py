"""The folder of an installation: data, secrets, logs, and what is running."""

import fcntl
import json
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flotilla_cli.embedded.ports import free_port, is_free
from flotilla_cli.failure import CommandError

DEFAULT_HOME = Path("~/.flotilla")


@dataclass(frozen=True, slots=True)
class Home:
    """Knows where things lie; everything secret is readable by its owner only."""

    path: Path

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.path / "logs"

    @property
    def secrets(self) -> Path:
        """Passwords, private keys and the pepper."""
        return self.path / "secrets"

    @property
    def public_keys(self) -> Path:
        """The issuers' public keys, `<issuer>.pub`."""
        return self.path / "identity"

    @property
    def postgres(self) -> Path:
        """The database cluster."""
        return self.path / "postgres"

    @property
    def valkey(self) -> Path:
        """The configuration of Valkey."""
        return self.path / "valkey"

    @property
    def state_file(self) -> Path:
        """What runs now."""
        return self.path / "state.json"

    @property
    def admin_key_file(self) -> Path:
        """The key that manages keys."""
        return self.path / "admin-key"

    @property
    def developer_key_file(self) -> Path:
        """The key for one's own applications."""
        return self.path / "developer-key"

    def command(self, subcommand: str) -> str:
        """Returns how the subcommand is typed here for this installation."""
        found, here = shutil.which("flotilla"), os.path.relpath(sys.argv[0])
        program = "flotilla" if found else min(here, os.path.abspath(sys.argv[0]), key=len)
        return (
            f"{program} {subcommand}"
            if self.is_default
            else f"{program} {subcommand} --home {shlex.quote(str(self.path))}"
        )

    @property
    def is_default(self) -> bool:
        """Says whether one gets here without naming it."""
        return self.path == DEFAULT_HOME.expanduser().resolve()

    def prepare(self) -> None:
        """Makes the folders that are missing, private ones; folders that exist keep their permissions."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.logs, self.secrets, self.public_keys):
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as exc:
            raise CommandError(f"{exc.filename}: {exc.strerror}", hint="choose another folder with --home") from exc

    def secret(self, name: str) -> str:
        """Returns the secret of that name, made on first use."""
        file = self.secrets / name
        if not file.exists():
            write_private(file, secrets.token_hex(32))
        return file.read_text()

    def ports(self) -> "PortBook":
        """Returns the ports that processes used last time."""
        return PortBook.read(self.path / "ports.json")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the installation for one `up`. Raises CommandError when another one has it."""
        descriptor = os.open(self.path / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor, self.path)
            yield
        finally:
            os.close(descriptor)


class PortBook:
    """Gives each process the ports it had before, or free ones."""

    def __init__(self, file: Path, known: dict[str, int]) -> None:
        self._file = file
        self._known = known
        self._given: set[int] = set()

    @classmethod
    def read(cls, file: Path) -> "PortBook":
        """Returns the book in the file; a missing or damaged one is an empty book."""
        try:
            known = {str(name): int(port) for name, port in json.loads(file.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            known = {}
        return cls(file, known)

    def port(self, name: str) -> int:
        """Returns a port for the name that is free now and given to nobody else."""
        port = self._known.get(name)
        if port is None or port in self._given or not is_free(port):
            port = free_port(self._given | set(self._known.values()))
        self._known[name] = port
        self._given.add(port)
        return port

    def reserve(self, ports: Iterable[int]) -> None:
        """Keeps ports that somebody chose out of those that are given."""
        self._given.update(ports)

    def save(self) -> None:
        """Remembers the ports for next time."""
        self._file.write_text(json.dumps(self._known, indent=2))


def write_private(file: Path, text: str) -> None:
    """Replaces the file in one step; only its owner can ever read it."""
    partial = file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    partial.replace(file)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        raise CommandError(
            f"Flotilla already runs on {path} (pid {holder or 'unknown'})",
            hint="stop it with `flotilla down`, or use another --home",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
