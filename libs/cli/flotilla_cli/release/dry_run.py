"""What helm would apply, as text that may be shown."""

import re

_PARTS = re.compile(r"^(?=---$|MANIFEST:$|NOTES:$)", re.MULTILINE)
_SECRET = re.compile(r"""\A---$.*^kind: ["']?Secret["']?\s*$""", re.MULTILINE | re.DOTALL)
_SOURCE = re.compile(r"\A---\n(?:# Source: .*\n)?")


def hide_secrets(shown: str) -> str:
    """Returns a dry run's text without any Secret: helm's --hide-secret leaves those that are hooks."""
    return "".join(_hidden(part) if _SECRET.match(part) else part for part in _PARTS.split(shown))


def _hidden(document: str) -> str:
    beginning = _SOURCE.match(document)
    return f"{beginning[0] if beginning else ''}# HIDDEN: The Secret output has been suppressed\n"
