"""A small Kubernetes API: serves the objects it was given, over real HTTP."""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

DEPLOYMENTS = "/apis/apps/v1/namespaces/flotilla/deployments"
PODS = "/api/v1/namespaces/flotilla/pods"
EVENTS = "/api/v1/namespaces/flotilla/events"
SERVICES = "/api/v1/namespaces/flotilla/services"
NAMESPACE = "/api/v1/namespaces/flotilla"
_PATIENCE_S = 30


class FakeKubernetes:
    """What is stored by path, and who has asked for it how often."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.queries: list[tuple[str, dict[str, list[str]]]] = []
        self._objects: dict[str, Any] = {}
        self._reads: Counter[str] = Counter()
        self._changed = threading.Condition()
        self.clear()

    def clear(self) -> None:
        """Leaves an empty namespace, and forgets who asked."""
        self._objects.clear()
        self.queries.clear()
        for path in (DEPLOYMENTS, PODS, EVENTS, SERVICES):
            self.put(path, {"items": []})
        self.put(NAMESPACE, {"metadata": {"name": "flotilla"}})

    def put(self, path: str, content: Any) -> None:
        """Stores an object, a list of objects or, for a log, text."""
        with self._changed:
            self._objects[path] = content

    def refuse(self, path: str, status: int) -> None:
        """Has a path answered by an error."""
        self.put(path, status)

    def await_reads(self, path: str, times: int = 2) -> None:
        """Waits until somebody has read a path: two reads that begin after now mean that one is over."""
        with self._changed:
            wanted = self._reads[path] + times
            if not self._changed.wait_for(lambda: self._reads[path] >= wanted, _PATIENCE_S):
                raise TimeoutError(f"nobody reads {path}")

    def read(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        with self._changed:
            self._reads[path] += 1
            self.queries.append((path, query))
            self._changed.notify_all()
            content = self._objects.get(path, 404)
        if isinstance(content, int):
            return content, {"kind": "Status", "status": "Failure", "code": content}
        return 200, content

    def write_kubeconfig(self, file: Path) -> Path:
        """Writes the file that a client finds this by."""
        cluster = {"name": "c", "cluster": {"server": self.address}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        user = {"name": "u", "user": {"token": "t"}}
        file.write_text(
            json.dumps({"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "x"})
        )
        return file


@contextlib.contextmanager
def running_kubernetes() -> Iterator[FakeKubernetes]:
    """Serves on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            self._send(*kubernetes.read(url.path, parse_qs(url.query)))

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kubernetes.put(self.path, json.loads(body))
            self._send(200, {})

        def do_POST(self) -> None:
            kubernetes.await_reads(self.path)
            self._send(200, {})

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

        def _send(self, status: int, content: Any) -> None:
            is_text = isinstance(content, str)
            body = (content if is_text else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if is_text else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kubernetes = FakeKubernetes(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kubernetes
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def deployment(service: str, *, desired: int = 1, updated: int | None = None, ready: int | None = None) -> Json:
    """Returns a Deployment of a service; settled unless told otherwise."""
    updated, ready = desired if updated is None else updated, desired if ready is None else ready
    return {
        "metadata": {"name": f"flotilla-{service}-blue", "generation": 2, "labels": _labels(service)},
        "spec": {
            "replicas": desired,
            "selector": {},
            "template": {"spec": {"containers": [{"name": service, "image": f"flotilla/{service}:v2"}]}},
        },
        "status": {
            "observedGeneration": 2,
            "replicas": desired,
            "updatedReplicas": updated,
            "availableReplicas": ready,
        },
    }


def pod(service: str, name: str, *, is_ready: bool = False, restarts: int = 0, state: Json | None = None) -> Json:
    """Returns a pod with one container in a state; running if none is given."""
    container = {
        "name": service,
        "image": f"flotilla/{service}:v2",
        "imageID": "",
        "ready": is_ready,
        "restartCount": restarts,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        "lastState": {},
    }
    return {
        "metadata": {
            "name": name,
            "labels": _labels(service),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [_owner("ReplicaSet", service)],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(is_ready)}],
            "containerStatuses": [container | (state or {})],
        },
    }


def job_pod(job: str, name: str, *, created: str, phase: str, state: Json) -> Json:
    """Returns a pod that a Job made."""
    made = pod(job, name, state=state)
    made["metadata"] |= {"creationTimestamp": created, "ownerReferences": [_owner("Job", job)]}
    made["metadata"]["labels"]["batch.kubernetes.io/job-name"] = job
    made["status"]["phase"] = phase
    return made


def no_image() -> Json:
    """Returns the state of a container whose image is not in the registry."""
    return {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}


def exited(exit_code: int) -> Json:
    """Returns the state of a container that has ended."""
    return {"state": {"terminated": {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed"}}}


def crash_loop(exit_code: int) -> Json:
    """Returns the state of a container that ends as soon as it starts."""
    return {
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": exit_code, "reason": "Error"}},
    }


def _owner(kind: str, name: str) -> Json:
    return {"apiVersion": "v1", "kind": kind, "name": name, "uid": "1"}


def _labels(service: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "flotilla",
        "app.kubernetes.io/instance": "flotilla",
        "app.kubernetes.io/component": service,
        "flotilla/color": "blue",
    }
