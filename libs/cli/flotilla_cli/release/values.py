"""What a release's values say about its images."""

from collections.abc import Mapping
from typing import Any

_DEFAULT_COLOR = "blue"


def image_tag(values: Mapping[str, Any], app_version: str) -> str:
    """Returns the tag that requests are answered by: the active colour's, else the release's, else the chart's."""
    rollout = values.get("rollout") or {}
    color = (rollout.get("colors") or {}).get(rollout.get("active") or _DEFAULT_COLOR) or {}
    for image in (color.get("image"), values.get("image")):
        if tag := (image or {}).get("tag"):
            return str(tag)
    return app_version
