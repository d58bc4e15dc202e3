"""The clock: what time it is in a time zone of the IANA database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from flotilla_tool.model import ToolArguments, ToolSpec
from flotilla_tool.tools.tool import Invocation, ToolError

_SPEC = ToolSpec(
    name="clock",
    description="Tells the current date, time and weekday in a time zone.",
    parameters={
        "type": "object",
        "properties": {
            "time_zone": {
                "type": "string",
                "maxLength": 64,
                "description": 'An IANA time zone such as "Europe/Zurich" or "America/New_York". Without one: UTC.',
            }
        },
        "additionalProperties": False,
    },
    timeout_s=2,
    idempotent=True,
    read_only=True,
)
_MOST_SUGGESTIONS = 5


def system_clock() -> datetime:
    """Returns the present moment."""
    return datetime.now(UTC)


class Clock:
    """Tells the time."""

    spec = _SPEC

    def __init__(self, now: Callable[[], datetime] = system_clock) -> None:
        self._now = now
        self._zones = {name.casefold(): name for name in available_timezones()}

    async def invoke(self, arguments: ToolArguments, invocation: Invocation) -> str:
        """Returns the local time in ISO 8601, the weekday and the zone. Raises ToolError (unknown_time_zone)."""
        zone = self._zone(str(arguments.get("time_zone") or "UTC"))
        local = self._now().astimezone(zone)
        return f"{local.isoformat(timespec='seconds')} ({local:%A}, {zone.key}, {local.tzname()})"

    def _zone(self, asked: str) -> ZoneInfo:
        name = self._zones.get(asked.strip().replace(" ", "_").casefold())
        if name is None:
            raise ToolError(_unknown(asked, near_names(asked, self._zones.values())), reason="unknown_time_zone")
        return ZoneInfo(name)


def near_names(asked: str, names: Iterable[str]) -> list[str]:
    """Returns the time zones that may have been meant: of that city first, then those spelled alike."""
    wanted = asked.strip().replace(" ", "_").casefold().rpartition("/")[2]
    by_city: dict[str, list[str]] = {}
    for name in sorted(names):
        by_city.setdefault(name.rpartition("/")[2].casefold(), []).append(name)
    cities = get_close_matches(wanted, by_city, n=_MOST_SUGGESTIONS, cutoff=0.7)
    return [name for city in cities for name in by_city[city]][:_MOST_SUGGESTIONS]


def _unknown(asked: str, near: list[str]) -> str:
    hint = f"Did you mean {', '.join(near)}?" if near else 'Names look like "Europe/Zurich".'
    return f"There is no time zone {asked[:64]!r}. {hint}"
