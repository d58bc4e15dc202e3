"""Under which account Postgres runs: it refuses to run as root, so root borrows another one.

Root with user namespaces stays root outside and is somebody else inside, which keeps files and folders as they are.
Root without them (containers, chroots) needs a true account, which cannot look into root's folders.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

from flotilla_cli.failure import CommandError

# Accounts that every Unix has; initdb looks the name of its account up.
_BORROWED = ("daemon", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """How a command is started so that it is not root."""

    prefix: tuple[str, ...] = ()
    """Goes before the command."""

    uid: int | None = None
    """The account to become, where a prefix cannot do it."""

    gid: int | None = None
    """The group that goes with the account."""

    @property
    def owns_our_files(self) -> bool:
        """Says whether files of ours are also the account's."""
        return self.uid is None


@cache
def postgres_account() -> Account:
    """Returns the account for this user on this machine."""
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return Account()
    borrowed = _borrowed()
    prefix = ("unshare", "--user", f"--map-user={borrowed.pw_uid}", "--")
    if shutil.which("unshare") and _succeeds([*prefix, "true"]):
        return Account(prefix=prefix)
    if os.geteuid() != 0:
        return Account()
    return Account(uid=borrowed.pw_uid, gid=borrowed.pw_gid)


def other_account() -> Account:
    """Returns the true account that root turns into where user namespaces are refused."""
    borrowed = _borrowed()
    return Account(uid=borrowed.pw_uid, gid=borrowed.pw_gid)


def _borrowed() -> pwd.struct_passwd:
    known = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in _BORROWED:
        if name in known:
            return known[name]
    if not known:
        raise CommandError("Postgres refuses to run as root, and this machine has no other account")
    return next(iter(known.values()))


def _has_name(uid: int) -> bool:
    return any(entry.pw_uid == uid for entry in pwd.getpwall())


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
