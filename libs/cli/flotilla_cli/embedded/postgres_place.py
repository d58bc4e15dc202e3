"""Where a Postgres cluster lies, which depends on the account that may run it."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from flotilla_cli.embedded.account import Account, other_account, postgres_account

# Only for root without user namespaces: an account that may not enter root's folders needs a place of its own.
_SHARED_PLACES = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - the folder made in it is private and not guessable by age


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """The folder of a cluster and the account that owns it."""

    folder: Path
    account: Account

    @property
    def data(self) -> Path:
        """The cluster itself."""
        return self.folder / "data"

    @property
    def pid_file(self) -> Path:
        """Where a running server writes its process id."""
        return self.data / "postmaster.pid"

    def prepare(self) -> None:
        """Makes the folder, private to the account."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.hand_over(self.folder)

    def hand_over(self, path: Path) -> None:
        """Gives a file of ours to the account."""
        if self.account.uid is not None and self.account.gid is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def binaries(self, tree: Path) -> Path:
        """Returns a tree of programs that the account can reach: the given one, or a copy made once."""
        if self.account.owns_our_files:
            return tree
        version = (tree / "bin" / "postgres").stat().st_mtime_ns
        copy = self.folder / f"programs-{_digest(f'{tree} {version}')}"
        if not copy.exists():
            partial = copy.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            for part in [tree, *_bundled_libraries(tree.parent)]:
                shutil.copytree(part, partial / part.relative_to(tree.parent.parent), symlinks=True)
            self._hand_over_all(partial)
            partial.rename(copy)
        return copy / tree.relative_to(tree.parent.parent)

    def adopt(self, data: Path) -> None:
        """Takes over a cluster that lies elsewhere."""
        self.prepare()
        shutil.move(data, self.data)
        self._hand_over_all(self.data)

    def discard(self) -> None:
        """Deletes the folder with everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hand_over_all(self, folder: Path) -> None:
        for path in [folder, *folder.rglob("*")]:
            if not path.is_symlink():
                self.hand_over(path)


def place_for(folder: Path) -> PostgresPlace:
    """Returns the place of the cluster that belongs to the folder; one that exists already stays where it is."""
    ours = PostgresPlace(folder, postgres_account())
    if os.geteuid() != 0:
        return ours
    elsewhere = PostgresPlace(_shared_folder(folder), other_account())
    if ours.account.owns_our_files and not elsewhere.data.exists():
        return ours
    if (ours.data / "PG_VERSION").exists() and not elsewhere.data.exists():
        elsewhere.adopt(ours.data)
    return elsewhere


def _shared_folder(folder: Path) -> Path:
    base = next((place for place in _SHARED_PLACES if os.access(place, os.W_OK)), _SHARED_PLACES[-1])
    return base / f"flotilla-postgres-{_digest(str(folder.resolve()))}"


def _bundled_libraries(package: Path) -> list[Path]:
    """Returns the folders that a repaired wheel puts shared libraries in, on Linux and on macOS."""
    candidates = (package.with_name(f"{package.name}.libs"), package / ".dylibs")
    return [folder for folder in candidates if folder.is_dir()]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
