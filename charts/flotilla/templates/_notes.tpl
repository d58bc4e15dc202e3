{{- define "flotilla.notes" -}}
{{- $name := include "flotilla.name" . }}
Flotilla {{ include "flotilla.tag" (dict "root" . "color" .Values.rollout.active) }} ({{ .Values.rollout.active }} is active{{ if gt (len (fromYamlArray (include "flotilla.enabledColors" .))) 1 }}, {{ without (fromYamlArray (include "flotilla.enabledColors" .)) .Values.rollout.active | join ", " }} is up{{ end }}).

Reach it
{{- if .Values.httpRoute.enabled }}
{{- range .Values.httpRoute.hostnames }}
  https://{{ . }} (http:// if the Gateway's listener has no TLS)
{{- end }}
{{- end }}
{{- if .Values.ingress.enabled }}
{{- range .Values.ingress.hosts }}
  {{ ternary "https" "http" $.Values.ingress.tls.enabled }}://{{ . }}
{{- end }}
{{- end }}
  kubectl -n {{ .Release.Namespace }} port-forward svc/{{ $name }}-gateway 8080:{{ .Values.service.port }}

Check it
  helm test {{ .Release.Name }} -n {{ .Release.Namespace }}
  kubectl -n {{ .Release.Namespace }} get pods -l app.kubernetes.io/instance={{ .Release.Name }} -L app.kubernetes.io/component,flotilla/color
{{- with .Values.secrets.gateway.keys.adminKey }}

Talk to it
  KEY=$(kubectl -n {{ $.Release.Namespace }} get secret {{ include "flotilla.secretName" (dict "root" $ "kind" "gateway") }} -o jsonpath='{.data.{{ . | replace "." "\\." }}}' | base64 -d)
  curl localhost:8080/v1/chat/completions -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \
    -d '{"model": "assistant", "messages": [{"role": "user", "content": "What is 6 * 7?"}]}'
{{- end }}

Undo a change
  helm history {{ .Release.Name }} -n {{ .Release.Namespace }}
  helm rollback {{ .Release.Name }} -n {{ .Release.Namespace }} --wait
{{- if include "flotilla.isDevelopment" . }}

THE SECRETS OF THIS RELEASE ARE PUBLIC: secrets.development is for trials only.
{{- end }}
{{- if .Values.model.development.enabled }}
Answers come from the development model, which is no signal of any model's quality.
{{- end }}
{{- if .Values.postgres.enabled }}
helm uninstall keeps the database's volume; kubectl -n {{ .Release.Namespace }} delete pvc data-{{ $name }}-postgres-0 removes it.
{{- end }}
{{- if and .Values.monitoring.enabled (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}
monitoring.enabled: this cluster has no monitoring.coreos.com/v1, so no PodMonitor and no PrometheusRule were made.
{{- end }}
{{- end -}}
