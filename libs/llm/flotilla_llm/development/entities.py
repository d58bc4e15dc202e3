"""Finds in a sentence what a parameter wants: places, time zones, numbers, dates, addresses and quotations."""

from __future__ import annotations

import re
from functools import cache
from zoneinfo import available_timezones

_QUOTED = re.compile("[\"\u201c\u201e]([^\"\u201c\u201d\u201e]+)[\"\u201d\u201c]|(?<!\\w)'([^']+)'(?!\\w)")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")
_NAME = re.compile(
    r"[A-Z\u00c0-\u00de][\w\u00c0-\u024f'.-]*(?:\s+(?:de|la|of|the|upon|am)?\s*[A-Z\u00c0-\u00de][\w\u00c0-\u024f'-]*)*"
)
_PLACE = re.compile(r"\b(?:in|at|near|for|around|to|from)\s+(?:the\s+)?(" + _NAME.pattern + ")")
_LOWER_PLACE = re.compile(r"\b(?:in|near|at)\s+([a-z\u00e0-\u024f]+(?:\s[a-z\u00e0-\u024f]+)?)\s*[?.!]*$")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
_URL = re.compile(r"https?://[^\s<>\"')]+")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_LEAD = re.compile(
    r"^(?:please\s+|hey\s+|hi,?\s+|(?:can|could|would|will) you\s+|i want you to\s+|i'd like you to\s+)*"
    r"(?:please\s+)?(?:remember|note|keep in mind|don't forget|do not forget|memori[sz]e|save|store|search(?: the web| "
    r"my memory)?|look up|look|find|google|tell me|show me|write down|translate|send|say|calculate|compute)?"
    r"(?:\s+(?:this|that|for|about|me|out))*\s*[:,]?\s*",
    re.I,
)
_ZONES = {
    "utc": "UTC", "gmt": "UTC", "beijing": "Asia/Shanghai", "mumbai": "Asia/Kolkata", "delhi": "Asia/Kolkata",
    "new delhi": "Asia/Kolkata", "india": "Asia/Kolkata", "japan": "Asia/Tokyo", "china": "Asia/Shanghai",
    "germany": "Europe/Berlin", "france": "Europe/Paris", "spain": "Europe/Madrid", "italy": "Europe/Rome",
    "england": "Europe/London", "uk": "Europe/London", "san francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles", "california": "America/Los_Angeles", "boston": "America/New_York",
    "washington": "America/New_York", "nyc": "America/New_York", "miami": "America/New_York",
    "texas": "America/Chicago", "munich": "Europe/Berlin", "hamburg": "Europe/Berlin", "geneva": "Europe/Zurich",
    "barcelona": "Europe/Madrid", "milan": "Europe/Rome", "rio de janeiro": "America/Sao_Paulo",
    "brazil": "America/Sao_Paulo", "cape town": "Africa/Johannesburg", "south korea": "Asia/Seoul",
}  # fmt: skip


def quotations(text: str) -> list[str]:
    """Returns what stands in quotation marks."""
    return [double or single for double, single in _QUOTED.findall(text)]


def numbers(text: str) -> list[float]:
    """Returns the numbers in their order; thousands may be separated by commas."""
    return [float(found.replace(",", "")) for found in _NUMBER.findall(text)]


def place(text: str) -> str | None:
    """Returns the place that the text speaks of."""
    found = _PLACE.search(text) or _LOWER_PLACE.search(text)
    return found.group(1).rstrip(".'") if found else None


def names(text: str) -> list[str]:
    """Returns capitalised names; a sentence's first word counts only when more follow it."""
    found = [(match.start(), match.group().rstrip(".'")) for match in _NAME.finditer(text)]
    return [name for start, name in found if start > 0 and name not in ("I", "I'm", "I'd", "I'll")]


def email(text: str) -> str | None:
    """Returns the first e-mail address."""
    found = _EMAIL.search(text)
    return found.group() if found else None


def url(text: str) -> str | None:
    """Returns the first URL."""
    found = _URL.search(text)
    return found.group().rstrip(".,;!?") if found else None


def date(text: str) -> str | None:
    """Returns the first date as YYYY-MM-DD."""
    found = _DATE.search(text)
    return found.group() if found else None


def time_zone(text: str) -> str | None:
    """Returns the IANA name of the zone or place that the text names."""
    for name in sorted(available_zones(), key=len, reverse=True) if "/" in text else ():
        if name.lower() in text.lower():
            return name
    lower = text.lower()
    found = [key for key in _zones_by_place() if key in lower and re.search(rf"\b{re.escape(key)}\b", lower)]
    return _zones_by_place()[max(found, key=len)] if found else None


def gist(text: str) -> str:
    """Returns the text without what only asks for a service: `remember that I like tea` is `I like tea`."""
    rest = _LEAD.sub("", text.strip(), count=1).strip()
    return (rest or text.strip()).rstrip(" ?")


@cache
def available_zones() -> frozenset[str]:
    """Returns every IANA zone that names a place."""
    return frozenset(
        name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/"))
    )


@cache
def _zones_by_place() -> dict[str, str]:
    regions = ("Africa", "America", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific", "Antarctica")
    cities = {
        zone.rsplit("/", 1)[1].replace("_", " ").lower(): zone
        for zone in sorted(available_zones())
        if zone.startswith(regions)
    }
    return cities | _ZONES
