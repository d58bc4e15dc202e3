{{/* The environment of a service: everything that is no secret, and the files of what is. */}}
{{- define "flotilla.environment" -}}
{{- $prefix := upper .service -}}
{{- $values := .root.Values -}}
{{- $secrets := include "flotilla.secretsDir" . -}}
APP_ENV: {{ $values.appEnv }}
{{ $prefix }}_LOG_LEVEL: {{ .values.logLevel }}
{{ $prefix }}_LOG_FORMAT: {{ .values.logFormat }}
{{ $prefix }}_DRAIN_MAX_S: {{ .values.drain.maxSeconds | quote }}
{{- if eq .service "orchestrator" }}
{{- /* Runs end where they are as long as there is time; what is left then is handed over while there still is some. */}}
ORCHESTRATOR_DRAIN_GRACE_S: {{ max 2 (sub .values.drain.maxSeconds 10) | quote }}
{{- end }}
{{ $prefix }}_DATABASE_URL_FILE: {{ $secrets }}/database-url
{{- if ne .service "gateway" }}
{{ $prefix }}_IDENTITY_KEYS_DIR: {{ include "flotilla.identityDir" . }}
{{- end }}
{{- if .facts.signs }}
{{ $prefix }}_IDENTITY_PRIVATE_KEY_FILE: {{ $secrets }}/identity-private-key
{{- end }}
{{- if .facts.redis }}
{{ $prefix }}_REDIS_URL_FILE: {{ $secrets }}/redis-url
{{- end }}
{{- range .facts.calls }}
{{ $prefix }}_{{ upper . }}_TARGET: {{ include "flotilla.target" (dict "root" $.root "service" . "color" $.color) }}
{{- end }}
{{- if eq .service "gateway" }}
GATEWAY_KEY_PEPPER_FILE: {{ $secrets }}/key-pepper
{{- if $values.secrets.gateway.keys.adminKey }}
GATEWAY_ADMIN_KEY_FILE: {{ $secrets }}/admin-key
{{- end }}
GATEWAY_CORS_ORIGINS: {{ join "," $values.gateway.corsOrigins | quote }}
GATEWAY_TRUSTED_PROXIES: {{ join "," $values.gateway.trustedProxies | quote }}
GATEWAY_REQUESTS_PER_MINUTE: {{ $values.gateway.requestsPerMinute | quote }}
{{- end }}
{{- if .facts.agents }}
{{ $prefix }}_AGENTS_DIR: /etc/flotilla/agents
{{- end }}
{{- if .facts.models }}
{{- include "flotilla.modelEnvironment" .root }}
{{- end }}
OTEL_RESOURCE_ATTRIBUTES: flotilla.color={{ .color }},service.version={{ include "flotilla.tag" . }},k8s.namespace.name={{ .root.Release.Namespace }}
{{- with $values.telemetry.otlpEndpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . }}
{{- end }}
{{- if not (kindIs "invalid" $values.telemetry.traceRatio) }}
{{ $prefix }}_TRACE_RATIO: {{ $values.telemetry.traceRatio | quote }}
{{- end }}
{{- range $name, $value := .values.env }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* East-west calls stay inside a colour. */}}
{{- define "flotilla.target" -}}
dns:///{{ include "flotilla.host" (dict "root" .root "name" (include "flotilla.workloadName" .)) }}:50051
{{- end -}}

{{- define "flotilla.modelEnvironment" -}}
{{- $model := .Values.model -}}
{{- $keys := .Values.secrets.model.keys -}}
{{- if $model.development.enabled }}
FLOTILLA_MODEL_BASE_URL: http://{{ include "flotilla.host" (dict "root" . "name" (printf "%s-model" (include "flotilla.name" .))) }}:{{ $model.development.port }}/v1
FLOTILLA_MODEL_NAME: flotilla-dev
FLOTILLA_EMBEDDING_MODEL: flotilla-dev-embed
{{- else }}
{{- if not (or $model.routes (and $model.baseUrl $model.name)) }}
{{- fail "no model is named: set model.baseUrl and model.name, or model.routes, or for a trial model.development.enabled=true" }}
{{- end }}
{{- with $model.baseUrl }}
FLOTILLA_MODEL_BASE_URL: {{ . }}
{{- end }}
{{- with $model.name }}
FLOTILLA_MODEL_NAME: {{ . }}
{{- end }}
{{- with $model.embeddingModel }}
FLOTILLA_EMBEDDING_MODEL: {{ . }}
{{- end }}
{{- with $model.embeddingBaseUrl }}
FLOTILLA_EMBEDDING_BASE_URL: {{ . }}
{{- end }}
{{- if include "flotilla.secretName" (dict "root" . "kind" "model") }}
FLOTILLA_MODEL_API_KEY_FILE: {{ include "flotilla.modelSecretDir" . }}/{{ $keys.apiKey }}
{{- if $model.embeddingBaseUrl }}
FLOTILLA_EMBEDDING_API_KEY_FILE: {{ include "flotilla.modelSecretDir" . }}/{{ $keys.embeddingApiKey }}
{{- end }}
{{- end }}
{{- end }}
{{- if $model.routes }}
FLOTILLA_MODEL_ROUTES_FILE: /etc/flotilla/model/routes.yaml
{{- end }}
{{- range $name, $value := $model.env }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}
