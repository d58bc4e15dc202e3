"""Calls to the gateway's public HTTP, as any client makes them."""

from collections.abc import Mapping
from typing import Any

import httpx

from flotilla_cli.failure import CommandError
from flotilla_cli.home import Home
from flotilla_cli.supervisor.state import PlatformStatus, read_status

Json = dict[str, Any]


def running(home: Home) -> PlatformStatus:
    """Returns what runs on the home. Raises CommandError when nothing does."""
    status = read_status(home.state_file)
    if status is None or not status.supervisor_is_alive():
        raise CommandError(f"Flotilla does not run on {home.path}", hint=f"start it with: {home.command('up')}")
    return status


def read_key(home: Home, *, admin: bool = False) -> str:
    """Returns the developer key, or the admin key. Raises CommandError when there is none yet."""
    file = home.admin_key_file if admin else home.developer_key_file
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        raise CommandError(f"there is no {file.name} in {home.path}", hint=f"{home.command('up')} makes it") from None


def client(home: Home, *, admin: bool = False, url: str | None = None, timeout_s: float = 30.0) -> httpx.Client:
    """Returns a client with the key; `url` when the caller knows where the gateway is."""
    return httpx.Client(
        base_url=url or running(home).url,
        headers={"Authorization": f"Bearer {read_key(home, admin=admin)}"},
        timeout=timeout_s,
        trust_env=False,
    )


def call(gateway: httpx.Client, method: str, path: str, body: Mapping[str, Any] | None = None) -> Json:
    """Returns the JSON answer. Raises CommandError with the gateway's own words when it refuses."""
    try:
        response = gateway.request(method, path, json=body)
    except httpx.HTTPError as exc:
        raise unreachable(gateway, exc) from exc
    require_success(response)
    answer: Json = response.json() if response.content else {}
    return answer


def require_success(response: httpx.Response) -> None:
    """Raises CommandError with the reason and the request id unless the response is 2xx; its body must be read."""
    if response.is_success:
        return
    request_id = response.headers.get("x-request-id", "")
    hint = f"request id {request_id}" if request_id else ""
    raise CommandError(f"the gateway answered {response.status_code}: {_reason(response)}", hint=hint)


def unreachable(gateway: httpx.Client, error: httpx.HTTPError) -> CommandError:
    """Returns the failure of a gateway that gave no answer."""
    detail = str(error) or type(error).__name__
    return CommandError(
        f"no answer from {gateway.base_url}: {detail}", hint="look at: flotilla status, flotilla logs gateway"
    )


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or response.reason_phrase
