"""`flotilla status` of a release on a cluster."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.markup import escape

from flotilla_cli.console import out, show_table
from flotilla_cli.failure import CommandError
from flotilla_cli.release.change import show_failure
from flotilla_cli.release.choice import pending_error, repair
from flotilla_cli.release.cluster import Cluster, open_cluster
from flotilla_cli.release.helm import find_helm
from flotilla_cli.release.model import Release, Revision, Workload
from flotilla_cli.release.target import Target
from flotilla_cli.release.watch import RolloutWatch

_BEFOREHAND = ("preflight", "test")


@dataclass(frozen=True, slots=True)
class Report:
    """How a release is."""

    target: Target
    history: Sequence[Revision]
    release: Release
    active_color: str

    def restarts(self, workload: Workload) -> int:
        """Returns how often the containers of a service have been started again."""
        return sum(pod.restarts for pod in self.release.pods if pod.name.startswith(f"{workload.name}-"))


def report_status(target: Target, *, as_json: bool) -> None:
    """Prints how a release is. Raises CommandError, with the repair, if it is not as it should be."""
    helm = find_helm()
    with open_cluster(target) as cluster:
        cluster.require_namespace()
        history = helm.read_history(target, limit=10)
        if not history:
            raise CommandError(f"there is no release {target}", hint="install it with: flotilla deploy")
        report = Report(target, history, cluster.read(), cluster.active_color())
        if as_json:
            print(json.dumps(_plain(report), indent=2))
        else:
            _show(report)
            _show_troubles(report, cluster)
    _judge(report)


def _show(report: Report) -> None:
    current = report.history[-1]
    colour = "green" if current.is_deployed else "red"
    out.print(
        f"{escape(str(report.target))}: revision {current.number} [{colour}]{escape(current.status)}[/], "
        f"{current.updated:%Y-%m-%d %H:%M:%S}, {escape(current.chart)}\n"
    )
    columns = ("service", "colour", "ready", "updated", "restarts", "image")
    show_table(columns, [_row(report, workload) for workload in report.release.workloads])


def _row(report: Report, workload: Workload) -> tuple[str, ...]:
    colour = "green" if workload.is_settled else "yellow" if workload.has_enough else "red"
    active = " (active)" if workload.color and workload.color == report.active_color else ""
    return (
        escape(workload.service),
        escape(workload.color) + active,
        f"[{colour}]{workload.ready}/{workload.desired}[/]",
        f"{workload.updated}/{workload.desired}",
        str(report.restarts(workload)),
        escape(workload.image),
    )


def _show_troubles(report: Report, cluster: Cluster) -> None:
    watch = RolloutWatch(cluster, tell=lambda _service, _news: None, patience_s=0)
    watch.look()
    for failure in watch.newest_failures():
        # A preflight that failed belongs to a revision that was refused, and lies there until the next.
        if not (report.history[-1].is_deployed and failure.pod.service in _BEFOREHAND):
            show_failure(failure)


def _judge(report: Report) -> None:
    current = report.history[-1]
    if current.is_pending:
        raise pending_error(report.history, report.target)
    if command := repair(report.history, report.target):
        raise CommandError(
            f"revision {current.number} is {current.status}: {current.description}", hint=f"to repair it: {command}"
        )
    lacking = [workload.name for workload in report.release.workloads if not workload.has_enough]
    if lacking:
        raise CommandError(f"not ready: {', '.join(lacking)}")


def _plain(report: Report) -> dict[str, object]:
    current = report.history[-1]
    return {
        "release": report.target.release,
        "namespace": report.target.namespace,
        "active_color": report.active_color,
        "revision": {**asdict(current), "updated": current.updated.isoformat()},
        "repair": repair(report.history, report.target) or None,
        "services": [
            {**asdict(workload), "restarts": report.restarts(workload)} for workload in report.release.workloads
        ],
    }
