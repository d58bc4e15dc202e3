{{/*
Objectives as burn rates over two windows each (Google's SRE workbook, chapter 5), and what people must look at.
Everything is of this release: its namespace and its label `release`.
*/}}

{{/* Per objective the events that break it and all events, as PromQL with % in place of the window. */}}
{{- define "flotilla.objectives" -}}
{{- $of := printf "namespace=%q,release=%q" .Release.Namespace .Release.Name -}}
availability:
  title: Requests answered with 5xx
  bad: sum(rate(flotilla_gateway_http_requests_total{ {{- $of }},status="5xx"}[%]))
  all: sum(rate(flotilla_gateway_http_requests_total{ {{- $of }}}[%]))
firstEvent:
  title: Runs whose first event takes more than a second
  bad: sum(rate(flotilla_runs_first_event_seconds_count{ {{- $of }}}[%])) - sum(rate(flotilla_runs_first_event_seconds_bucket{ {{- $of }},le="1.0"}[%]))
  all: sum(rate(flotilla_runs_first_event_seconds_count{ {{- $of }}}[%]))
runSuccess:
  title: Runs that failed
  bad: sum(rate(flotilla_runs_finished_total{ {{- $of }},status=~"failed|timed_out|dead_lettered"}[%]))
  all: sum(rate(flotilla_runs_finished_total{ {{- $of }}}[%]))
{{- end -}}

{{- define "flotilla.rules" -}}
{{- $root := . -}}
{{- $rules := .Values.monitoring.rules -}}
{{- $of := printf "namespace=%q,release=%q" .Release.Namespace .Release.Name -}}
- name: flotilla-burn-rates
  rules:
    {{- range $slo, $events := fromYaml (include "flotilla.objectives" .) }}
    {{- range $window := list "5m" "30m" "1h" "2h" "6h" "1d" "3d" }}
    {{- $bad := replace "%" $window $events.bad }}
    {{- $all := replace "%" $window $events.all }}
    - record: flotilla:bad_events:ratio_rate{{ $window }}
      expr: {{ printf "(%s or 0 * %s) / %s" $bad $all $all | quote }}
      labels: { slo: {{ $slo }}, namespace: {{ $root.Release.Namespace }}, release: {{ $root.Release.Name }} }
    {{- end }}
    {{- end }}
- name: flotilla-objectives
  rules:
    {{- range $slo, $events := fromYaml (include "flotilla.objectives" .) }}
    {{- $budget := printf "(1 - %v)" (get $rules.objectives $slo) }}
    {{- range list (list "page" 14.4 "1h" "5m") (list "page" 6 "6h" "30m") (list "ticket" 3 "1d" "2h") (list "ticket" 1 "3d" "6h") }}
    {{- $series := printf "{slo=%q,%s}" $slo $of }}
    - alert: FlotillaErrorBudgetBurn
      expr: |-
        flotilla:bad_events:ratio_rate{{ index . 2 }}{{ $series }} > {{ index . 1 }} * {{ $budget }}
        and
        flotilla:bad_events:ratio_rate{{ index . 3 }}{{ $series }} > {{ index . 1 }} * {{ $budget }}
      labels:
        severity: {{ index . 0 }}
        slo: {{ $slo }}
        window: {{ index . 2 }}
        {{- with $rules.labels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        summary: "{{ $events.title }}: {{ `{{ $value | humanizePercentage }}` }} in {{ index . 2 }}, {{ index . 1 }} times what the objective of {{ get $rules.objectives $slo }} allows"
        description: "Where it began: flotilla status, then the logs of the colour and service with errors. If it began with a release, flotilla rollback."
    {{- end }}
    {{- end }}
- name: flotilla-symptoms
  rules:
    {{- range fromYamlArray (include "flotilla.symptoms" (dict "of" $of "active" (printf "%s,color=%q" $of .Values.rollout.active))) }}
    - alert: {{ .alert }}
      expr: {{ .expr | quote }}
      for: {{ .for }}
      labels:
        severity: {{ .severity }}
        {{- with $rules.labels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        summary: {{ .summary | quote }}
        description: {{ .description | quote }}
    {{- end }}
{{- end -}}

{{/* What shows an outage may count nothing that stops with the requests, and a colour on stand-by is no help. */}}
{{- define "flotilla.symptoms" -}}
- alert: FlotillaServiceAway
  expr: >-
    max by (component) (flotilla_ready{ {{- .active }}}) == 0
    or label_replace(absent(up{ {{- .active }},component="gateway"} == 1), "component", "gateway", "", "")
  for: 2m
  severity: page
  summary: "No pod of {{ `{{ $labels.component }}` }} takes work"
  description: "flotilla status and the pods' logs; if all services are away, what they share: the database, DNS, the nodes. If it began with a release, flotilla rollback."
- alert: FlotillaPodNotScraped
  expr: max by (component, color, pod) (up{ {{- .of }}} == 0)
  for: 5m
  severity: ticket
  summary: "{{ `{{ $labels.pod }}` }} does not answer on its metrics port"
  description: "It hangs or is not reachable from Prometheus: kubectl describe and logs of the pod; networkPolicy.metricsFrom."
- alert: FlotillaRunsGivenUp
  expr: sum(increase(flotilla_runs_dead_letters_total{ {{- .of }}}[15m])) > 0
  for: 0m
  severity: ticket
  summary: "{{ `{{ $value | humanize }}` }} runs were given up after crashing three times"
  description: "The run's record has the reason of its last attempt; it can be started again once that is mended."
- alert: FlotillaEventsNotStored
  expr: sum(increase(flotilla_runs_flush_failures_total{ {{- .of }}}[5m])) > 30
  for: 1m
  severity: page
  summary: "The orchestrators cannot store events"
  description: "Runs stand still until the database answers: its availability, locks and free space."
- alert: FlotillaModelAway
  expr: max by (route) (flotilla_model_breaker_state{ {{- .of }}} == 2 and on (pod, route) sum by (pod, route) (increase(flotilla_model_errors_total{ {{- .of }}}[5m])) > 0)
  for: 2m
  severity: page
  summary: "The model route {{ `{{ $labels.route }}` }} fails so often that it is left alone"
  description: "The provider's state and quota, the key, egress on 443; flotilla_model_errors_total says the reasons."
- alert: FlotillaPeersMissing
  expr: sum by (peer) (rate(flotilla_runs_degradations_total{ {{- .of }}}[10m])) / scalar(sum(rate(flotilla_runs_accepted_total{ {{- .of }}}[10m]))) > 0.05
  for: 10m
  severity: ticket
  summary: "{{ `{{ $value | humanizePercentage }}` }} of runs go on without {{ `{{ $labels.peer }}` }}"
  description: "Answers are given, but without what that service adds: its pods, its database, its latency."
- alert: FlotillaOutboxDropped
  expr: sum by (kind) (increase(flotilla_outbox_dropped_total{ {{- .of }}}[30m])) > 0
  for: 0m
  severity: ticket
  summary: "{{ `{{ $labels.kind }}` }}: {{ `{{ $value | humanize }}` }} entries were refused for good"
  description: "What runs left behind for memory or evaluation is lost for these runs; the orchestrator's log names them."
- alert: FlotillaLimitsLocal
  expr: sum(rate(flotilla_gateway_local_limit_total{ {{- .of }}}[5m])) > 0
  for: 10m
  severity: ticket
  summary: "Rate limits are each gateway's own, because Redis is away"
  description: "Nothing is lost, but limits are less exact: the Redis, its Secret and the way to it."
{{- end -}}
