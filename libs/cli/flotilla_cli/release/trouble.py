"""Reads from a pod's status why it does not come up."""

from collections.abc import Iterator
from typing import Any

from flotilla_cli.release.model import Trouble

_HARMLESS_WAITING = ("ContainerCreating", "PodInitializing")
_NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")


def find_trouble(pod: Any) -> Trouble | None:
    """Returns what keeps a pod (a V1Pod) from running; None while there is no reason to worry."""
    return next(_troubles(pod), None)


def _troubles(pod: Any) -> Iterator[Trouble]:
    if pod.status.reason == "Evicted":
        yield Trouble("", "Evicted", pod.status.message or "", has_started_before=False)
    for container in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
        yield from _of_container(container)
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            yield Trouble("", condition.reason or "Unschedulable", condition.message or "", has_started_before=False)


def _of_container(container: Any) -> Iterator[Trouble]:
    state, last = container.state, container.last_state.terminated if container.last_state else None
    if state.terminated and state.terminated.exit_code != 0:
        yield Trouble(container.name, _exit(state.terminated), "", has_started_before=False)
    elif state.waiting and state.waiting.reason not in _HARMLESS_WAITING:
        ended = _exit(last) if last and last.exit_code != 0 else ""
        message = ended or state.waiting.message or ""
        reason = state.waiting.reason or "waiting"
        image = container.image if reason in _NO_IMAGE else ""
        yield Trouble(container.name, reason, message, has_started_before=last is not None, missing_image=image)
    elif last and last.exit_code != 0 and not container.ready:
        yield Trouble(container.name, _exit(last), "", has_started_before=True)


def _exit(terminated: Any) -> str:
    reason = terminated.reason if terminated.reason not in (None, "Error", "Completed") else ""
    how = f"killed by signal {terminated.signal}" if terminated.signal else f"exited with {terminated.exit_code}"
    return f"{reason}, {how}" if reason else how
