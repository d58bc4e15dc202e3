"""What alerts look at is on the metrics page before anything happened."""

from __future__ import annotations

import pytest
from flotilla_orchestrator.runs.metrics import RunMetrics
from prometheus_client import CollectorRegistry, generate_latest


@pytest.mark.parametrize(
    ("series", "values"),
    [
        ("flotilla_runs_accepted_total{wire=%s}", ["openai"]),
        ("flotilla_runs_refused_total{reason=%s}", ["draining", "capacity"]),
        (
            "flotilla_runs_finished_total{status=%s}",
            ["waiting", "succeeded", "failed", "cancelled", "timed_out", "dead_lettered"],
        ),
        ("flotilla_runs_degradations_total{peer=%s}", ["memory", "tool"]),
        ("flotilla_outbox_sent_total{kind=%s}", ["commit_turn", "observe"]),
        ("flotilla_outbox_retried_total{kind=%s}", ["commit_turn", "observe"]),
        ("flotilla_outbox_dropped_total{kind=%s}", ["commit_turn", "observe"]),
    ],
)
def test_labelled_counters_are_on_the_page_at_zero_from_the_start(series: str, values: list[str]) -> None:
    registry = CollectorRegistry()
    RunMetrics(registry)

    page = generate_latest(registry).decode().splitlines()

    name = series.partition("{")[0]
    shown = {line for line in page if line.startswith(f"{name}{{")}
    assert shown == {series.replace("%s", f'"{value}"') + " 0.0" for value in values}
