"""What must exist before the services start: keys, roles, databases, schemas."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import psycopg
from flotilla_common.identity import generate_key_pair
from flotilla_common.migrations import MigrationError, migrate

from flotilla_cli.embedded.provision import OWNER, SERVICES, provision_database, provision_roles, role_of
from flotilla_cli.failure import CommandError
from flotilla_cli.home import Home, write_private
from flotilla_cli.platform.layout import Platform, private_key_file, role_passwords

ISSUERS = ("gateway", "orchestrator")


def make_keys(home: Home) -> None:
    """Makes the issuers' key pairs, the pepper of the API keys and the admin key, unless they exist."""
    for issuer in ISSUERS:
        private, public = private_key_file(home, issuer), home.public_keys / f"{issuer}.pub"
        if not (private.exists() and public.exists()):
            private.unlink(missing_ok=True)
            generate_key_pair(private, public)
    home.secret("key-pepper")
    if not home.admin_key_file.exists():
        # Loaded only on the first start.
        from flotilla_gateway.auth.credentials import mint_key

        write_private(home.admin_key_file, mint_key())


async def require_valid_agents(folder: Path) -> None:
    """Raises CommandError with each fault of the agents' files and its line."""
    # In a process of its own: it loads LangGraph, which the supervisor does without.
    validation = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "flotilla_cli", "agents", "validate", str(folder), stdout=PIPE, stderr=PIPE
    )
    try:
        said, complaint = await validation.communicate()
    finally:
        if validation.returncode is None:
            validation.kill()
    if validation.returncode:
        faults = [line for line in said.decode().splitlines() if not line.endswith(": valid")]
        raise CommandError("\n  ".join(["the agents' files are wrong", *(faults or complaint.decode().splitlines())]))


async def prepare_database(platform: Platform) -> None:
    """Brings the roles and the database up to date."""
    superuser_url = platform.postgres.url()
    await asyncio.to_thread(provision_roles, superuser_url, role_passwords(platform.plan.home))
    await asyncio.to_thread(provision_database, superuser_url)


async def migrate_schemas(platform: Platform) -> None:
    """Brings every service's schema up to date. Raises CommandError naming the service whose migrations fail."""
    # In this process: five interpreters that each load psycopg would take longer than all statements together.
    await asyncio.gather(*(asyncio.to_thread(_migrate, platform, service) for service in SERVICES))


def _migrate(platform: Platform, service: str) -> None:
    try:
        migrate(f"flotilla_{service}", service, url=platform.database_url(OWNER), role=role_of(service))
    except (MigrationError, psycopg.Error) as exc:
        raise CommandError(f"the migrations of {service} failed: {exc}") from exc
