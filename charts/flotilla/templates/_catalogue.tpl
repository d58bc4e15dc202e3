{{/*
What is fixed about each service: what it calls, uses and signs. Environment, Secrets, NetworkPolicies and monitors
are drawn from here; a new service is one more entry, and one in values.yaml.
*/}}
{{- define "flotilla.catalogue" -}}
gateway:
  port: { name: http, number: 8080 }
  calls: [orchestrator, memory, tool, evaluator]
  redis: true
  signs: true
orchestrator:
  port: { name: grpc, number: 50051 }
  calls: [memory, tool, evaluator]
  models: true
  signs: true
  agents: true
memory:
  port: { name: grpc, number: 50051 }
  calls: []
  models: true
tool:
  port: { name: grpc, number: 50051 }
  calls: []
evaluator:
  port: { name: grpc, number: 50051 }
  calls: []
  models: true
{{- end -}}

{{- define "flotilla.enabledColors" -}}
{{- $names := list -}}
{{- range $name, $color := .Values.rollout.colors -}}
{{- if $color.enabled -}}{{- $names = append $names $name -}}{{- end -}}
{{- end -}}
{{- if not (has .Values.rollout.active $names) -}}
{{- fail (printf "rollout.active is %q, which is not an enabled colour: set rollout.colors.%s.enabled=true, or activate one of %s" .Values.rollout.active .Values.rollout.active (toJson $names)) -}}
{{- end -}}
{{- toYaml $names -}}
{{- end -}}

{{/* The scopes of all pods to draw: every service in every enabled colour, with its facts and its values. */}}
{{- define "flotilla.workloads" -}}
{{- $catalogue := fromYaml (include "flotilla.catalogue" .) -}}
{{- $workloads := list -}}
{{- range $color := fromYamlArray (include "flotilla.enabledColors" .) -}}
{{- range $service, $facts := $catalogue -}}
{{- $values := mergeOverwrite (deepCopy $.Values.defaults) (deepCopy (get $.Values.services $service | default dict)) -}}
{{- $workloads = append $workloads (dict "service" $service "color" $color "facts" $facts "values" $values) -}}
{{- end -}}
{{- end -}}
{{- toJson (dict "items" $workloads) -}}
{{- end -}}
