"""The Kubernetes API: what runs of a release. The only module that knows the client library."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from urllib3.exceptions import HTTPError

from flotilla_cli.failure import CommandError
from flotilla_cli.release.model import Pod, Release, Workload
from flotilla_cli.release.target import Target
from flotilla_cli.release.trouble import find_trouble

_library: Any = config
"""The same module without its missing types."""
_TIMEOUT_S = 10
_LOG_LINES = 10
_LABELS = "app.kubernetes.io/name=flotilla,app.kubernetes.io/instance={release}"
_COMPONENT = "app.kubernetes.io/component"
_COLOR = "flotilla/color"
_JOB = "batch.kubernetes.io/job-name"


class Cluster:
    """Reads what a cluster runs of one release."""

    def __init__(self, api: client.ApiClient, target: Target) -> None:
        self._target = target
        self._address = str(api.configuration.host)
        # Untyped: by the library's types any field of any object may be missing, also those that never are.
        self._core: Any = client.CoreV1Api(api)
        self._apps: Any = client.AppsV1Api(api)

    def require_namespace(self) -> None:
        """Raises CommandError if the namespace is not there."""
        namespace = self._target.namespace
        with self._errors():
            try:
                self._core.read_namespace(namespace, _request_timeout=_TIMEOUT_S)
            except client.ApiException as exc:
                if exc.status == 404:
                    raise CommandError(
                        f"there is no namespace {namespace} on {self._address}",
                        hint=f"kubectl create namespace {namespace}, or k8s/namespace.yaml for one that is restricted",
                    ) from None
                if exc.status != 403:
                    raise
                # Whoever may work in a namespace only may not look at it; helm will say if it is not there.

    def read(self) -> Release:
        """Returns the release's Deployments and pods."""
        selector = {"label_selector": _LABELS.format(release=self._target.release), "_request_timeout": _TIMEOUT_S}
        with self._errors():
            deployments = self._apps.list_namespaced_deployment(self._target.namespace, **selector).items
            pods = self._core.list_namespaced_pod(self._target.namespace, **selector).items
        workloads = sorted(map(_workload, deployments), key=lambda workload: (workload.color, workload.service))
        staying = [_pod(pod) for pod in pods if pod.metadata.deletion_timestamp is None]
        leaving = [pod for pod in pods if pod.metadata.deletion_timestamp and not _job(pod)]
        return Release(workloads, _without_earlier_tries(staying), len(leaving))

    def active_color(self) -> str:
        """Returns the colour that requests go to; nothing if that cannot be said."""
        labels = _LABELS.format(release=self._target.release) + f",{_COMPONENT}=gateway"
        with self._errors():
            found = self._core.list_namespaced_service(
                self._target.namespace, label_selector=labels, _request_timeout=_TIMEOUT_S
            ).items
        for service in found:
            if service.metadata.name.endswith("-gateway"):
                return str((service.spec.selector or {}).get(_COLOR, ""))
        return ""

    def read_log(self, pod: str, container: str, *, previous: bool) -> list[str]:
        """Returns a container's last lines; none if it has not written any or they are gone."""
        try:
            text = self._core.read_namespaced_pod_log(
                pod,
                self._target.namespace,
                container=container,
                previous=previous,
                tail_lines=_LOG_LINES,
                _request_timeout=_TIMEOUT_S,
            )
        except (client.ApiException, HTTPError):
            return []
        return str(text).rstrip().splitlines()

    def read_warnings(self, pod: str) -> list[str]:
        """Returns what Kubernetes complains of about a pod, such as a volume that cannot be mounted."""
        with self._errors():
            events = self._core.list_namespaced_event(
                self._target.namespace,
                field_selector=f"type=Warning,involvedObject.name={pod}",
                _request_timeout=_TIMEOUT_S,
            ).items
        return list(dict.fromkeys(f"{event.reason}: {event.message}" for event in events))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns the client's errors into words."""
        try:
            yield
        except client.ApiException as exc:
            raise CommandError(f"{self._address} answers {exc.status}: {_reason(exc)}") from exc
        except HTTPError as exc:
            raise CommandError(
                f"the cluster at {self._address} does not answer", hint="kubectl cluster-info tells more"
            ) from exc


@contextlib.contextmanager
def open_cluster(target: Target) -> Iterator[Cluster]:
    """Connects by the kubeconfig, or as the pod that this is. Raises CommandError if there is neither."""
    try:
        api = _configured(target.context)
    except config.ConfigException as exc:
        raise CommandError(f"the kubeconfig does not do: {exc}") from exc
    try:
        yield Cluster(api, target)
    finally:
        api.rest_client.pool_manager.clear()


def _configured(context: str | None) -> client.ApiClient:
    files = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    if any(Path(file).is_file() for file in files.split(os.pathsep) if file):
        configured = _untried()
        _library.load_kube_config(config_file=files, context=context, client_configuration=configured)
        return client.ApiClient(configured)
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        configured = _untried()
        _library.load_incluster_config(client_configuration=configured)
        return client.ApiClient(configured)
    raise CommandError(f"there is no kubeconfig at {files}", hint="point KUBECONFIG to your cluster's")


def _untried() -> client.Configuration:
    configured = client.Configuration()
    # One try is enough: whoever waits for a rollout looks again anyway.
    configured.retries = urllib3.Retry(total=0)
    return configured


def _reason(exc: client.ApiException) -> str:
    return {401: "it does not know you; log in again", 403: "you may not do that"}.get(exc.status) or str(exc.reason)


def _workload(deployment: Any) -> Workload:
    labels, spec, status = deployment.metadata.labels, deployment.spec, deployment.status
    desired = 1 if spec.replicas is None else spec.replicas
    updated, ready = status.updated_replicas or 0, status.available_replicas or 0
    is_seen = (status.observed_generation or 0) >= deployment.metadata.generation
    refused = [c.message for c in status.conditions or [] if c.type == "ReplicaFailure" and c.status == "True"]
    return Workload(
        name=deployment.metadata.name,
        service=labels.get(_COMPONENT, deployment.metadata.name),
        color=labels.get(_COLOR, ""),
        image=spec.template.spec.containers[0].image,
        desired=desired,
        updated=updated,
        ready=ready,
        is_settled=is_seen and updated == desired == ready == (status.replicas or 0),
        refusal=refused[0] if refused else "",
    )


def _pod(pod: Any) -> Pod:
    conditions = {condition.type: condition.status for condition in pod.status.conditions or []}
    containers = [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
    is_done, job = pod.status.phase == "Succeeded", _job(pod)
    return Pod(
        name=pod.metadata.name,
        service=pod.metadata.labels.get(_COMPONENT, pod.metadata.name),
        # A container without a probe is ready as soon as it runs, which says nothing of a Job.
        is_ready=is_done or (conditions.get("Ready") == "True" and not job),
        created=pod.metadata.creation_timestamp,
        restarts=sum(container.restart_count for container in containers),
        trouble=find_trouble(pod),
        job=job,
    )


def _job(pod: Any) -> str:
    # A pod that nothing owns, such as the one of `helm test`, is a Job of its own.
    return str(pod.metadata.labels.get(_JOB, "" if pod.metadata.owner_references else pod.metadata.name))


def _without_earlier_tries(pods: list[Pod]) -> list[Pod]:
    """Leaves out those pods of a Job that a later one was made for: only the newest tells how the Job goes."""
    newest = {pod.job: pod.name for pod in sorted(pods, key=lambda pod: pod.created) if pod.job}
    return [pod for pod in pods if not pod.job or newest[pod.job] == pod.name]
