"""Draws Grafana's overview (charts/flotilla/files/overview.json) from the table of panels below."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

OF = 'namespace="$namespace",release="$release",color=~"$color"'
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS, _HEIGHT = 24, 8


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: legend → query, in which % stands for the labels of the release."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    width: int = 8


def _quantile(share: float, histogram: str, by: str = "") -> str:
    labels = f"le,{by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket{{%}}[$__rate_interval])))"


def _rate(counter: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({counter}{{%{more}}}[$__rate_interval]))"


ROWS: dict[str, list[Panel]] = {
    "What callers see": [
        Panel("Requests", {"{{status}}": _rate("flotilla_gateway_http_requests_total", "status")}, "reqps"),
        Panel(
            "Share answered with 5xx",
            {
                "{{color}}": "("
                + _rate("flotilla_gateway_http_requests_total", "color", ',status="5xx"')
                + " or 0 * "
                + _rate("flotilla_gateway_http_requests_total", "color")
                + ") / "
                + _rate("flotilla_gateway_http_requests_total", "color")
            },
            "percentunit",
        ),
        Panel(
            "Time to the answer",
            {
                "p50": _quantile(0.5, "flotilla_gateway_http_request_duration_highr_seconds"),
                "p95": _quantile(0.95, "flotilla_gateway_http_request_duration_highr_seconds"),
                "p99": _quantile(0.99, "flotilla_gateway_http_request_duration_highr_seconds"),
            },
            "s",
        ),
        Panel(
            "Refused by limits",
            {
                "shared": "sum(rate(flotilla_gateway_rate_limited_total{%}[$__rate_interval]))",
                "decided locally": "sum(rate(flotilla_gateway_local_limit_total{%}[$__rate_interval]))",
            },
            "reqps",
        ),
        Panel(
            "Streams taken up again",
            {"{{color}}": _rate("flotilla_gateway_reattached_total", "color")},
            "ops",
        ),
        Panel("Pods that answer", {"{{component}} {{color}}": "sum by (component, color) (up{%})"}),
    ],
    "Runs": [
        Panel("Runs under way", {"{{color}} {{pod}}": "sum by (color, pod) (flotilla_runs_active{%})"}),
        Panel("Runs ended", {"{{status}}": _rate("flotilla_runs_finished_total", "status")}, "ops"),
        Panel(
            "Time to the first event",
            {
                "p50": _quantile(0.5, "flotilla_runs_first_event_seconds"),
                "p99": _quantile(0.99, "flotilla_runs_first_event_seconds"),
            },
            "s",
        ),
        Panel(
            "Runs that changed hands",
            {
                "taken over": "sum(rate(flotilla_runs_takeovers_total{%}[$__rate_interval]))",
                "handed back": "sum(rate(flotilla_runs_handed_back_total{%}[$__rate_interval]))",
                "given up": "sum(rate(flotilla_runs_dead_letters_total{%}[$__rate_interval]))",
            },
            "ops",
        ),
        Panel(
            "Storing events",
            {
                "p95": _quantile(0.95, "flotilla_runs_flush_seconds"),
                "failures/s": "sum(rate(flotilla_runs_flush_failures_total{%}[$__rate_interval]))",
            },
            "s",
        ),
        Panel(
            "Outbox",
            {
                "{{kind}} sent": _rate("flotilla_outbox_sent_total", "kind"),
                "{{kind}} put off": _rate("flotilla_outbox_retried_total", "kind"),
                "{{kind}} dropped": _rate("flotilla_outbox_dropped_total", "kind"),
            },
            "ops",
        ),
    ],
    "Models, tools, memory": [
        Panel(
            "Time to a model's first token",
            {"{{route}} p95": _quantile(0.95, "flotilla_model_first_token_seconds", "route")},
            "s",
        ),
        Panel("Model errors", {"{{route}} {{reason}}": _rate("flotilla_model_errors_total", "route, reason")}, "ops"),
        Panel("Tokens", {"{{route}} {{kind}}": _rate("flotilla_model_tokens_total", "route, kind")}, "ops"),
        Panel(
            "Cost in an hour",
            {"{{route}}": "sum by (route) (increase(flotilla_model_cost_micro_usd_total{%}[1h])) / 1e6"},
            "currencyUSD",
        ),
        Panel("Tool calls", {"{{tool}} {{outcome}}": _rate("flotilla_tool_calls_total", "tool, outcome")}, "ops"),
        Panel("Memories recalled by", {"{{by}}": _rate("flotilla_memory_recalls_total", "by")}, "ops"),
    ],
    "Services": [
        Panel(
            "Calls that failed",
            {
                "{{component}} {{method}} {{code}}": _rate(
                    "flotilla_rpc_handled_total", "component, method, code", ',code!="OK"'
                )
            },
            "ops",
        ),
        Panel(
            "Time of calls, p95",
            {"{{component}} {{method}}": _quantile(0.95, "flotilla_rpc_duration_seconds", "component, method")},
            "s",
        ),
        Panel(
            "CPU",
            {"{{component}} {{color}}": _rate("process_cpu_seconds_total", "component, color")},
            "none",
        ),
        Panel(
            "Memory",
            {"{{component}} {{pod}}": "sum by (component, pod) (process_resident_memory_bytes{%})"},
            "bytes",
        ),
    ],
}


def draw() -> str:
    """Returns the dashboard as text."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append(_heading(title, top, len(panels) + 1))
        left, top = 0, top + 1
        for panel in row:
            if left + panel.width > _COLUMNS:
                left, top = 0, top + _HEIGHT
            panels.append(_graph(panel, left, top, len(panels) + 1))
            left += panel.width
        top += _HEIGHT
    return json.dumps(_dashboard(panels), indent=1) + "\n"


def _dashboard(panels: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "uid": "flotilla-overview",
        "title": "Flotilla / Overview",
        "tags": ["flotilla"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                _variable("namespace", "label_values(flotilla_runs_active, namespace)"),
                _variable("release", 'label_values(flotilla_runs_active{namespace="$namespace"}, release)'),
                _variable("color", 'label_values(up{namespace="$namespace",release="$release"}, color)', is_multi=True),
            ]
        },
        "panels": panels,
    }


def _variable(name: str, query: str, *, is_multi: bool = False) -> dict[str, Any]:
    every = {"multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    plain = {"name": name, "type": "query", "datasource": _DATASOURCE, "query": query, "refresh": 2}
    return plain | (every if is_multi else {})


def _heading(title: str, top: int, number: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _graph(panel: Panel, left: int, top: int, number: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + place), "expr": query.replace("%", OF), "legendFormat": legend}
        for place, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _DATASOURCE,
        "gridPos": {"x": left, "y": top, "w": panel.width, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }
