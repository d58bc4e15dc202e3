{{/* A value as the text of a variable. Numbers of a values file are floats, which would print as 1e+06. */}}
{{- define "flotilla.text" -}}
{{- kindIs "string" . | ternary . (toJson .) -}}
{{- end -}}

{{/* The environment of a service: what the chart says, and over it what `env` says, one line a variable. */}}
{{- define "flotilla.environment" -}}
{{- $environment := fromYaml (include "flotilla.settings" .) -}}
{{- range $name, $value := dict "APP_ENV" "appEnv" (printf "%s_DRAIN_MAX_S" (upper .service)) "drain.maxSeconds" -}}
{{- if hasKey $.values.env $name -}}
{{- fail (printf "services.%s.env.%s: more than this variable depends on it, so it is set by the value %s" $.service $name $value) -}}
{{- end -}}
{{- end -}}
{{- range $env := list (ternary .root.Values.model.env dict (.facts.models | default false)) .values.env -}}
{{- range $name, $value := $env -}}
{{- $_ := set $environment $name (include "flotilla.text" $value) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $environment }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* Everything that is no secret, and the files of what is. */}}
{{- define "flotilla.settings" -}}
{{- $prefix := upper .service -}}
{{- $values := .root.Values -}}
{{- $secrets := include "flotilla.secretsDir" . -}}
APP_ENV: {{ $values.appEnv | quote }}
{{ $prefix }}_LOG_LEVEL: {{ .values.logLevel | quote }}
{{ $prefix }}_LOG_FORMAT: {{ .values.logFormat | quote }}
{{ $prefix }}_DRAIN_MAX_S: {{ include "flotilla.text" .values.drain.maxSeconds | quote }}
{{- if eq .service "orchestrator" }}
{{- /* Runs end where they are as long as there is time; what is left then is handed over while there still is some. */}}
ORCHESTRATOR_DRAIN_GRACE_S: {{ max 2 (sub .values.drain.maxSeconds 10) | quote }}
{{- end }}
{{ $prefix }}_DATABASE_URL_FILE: "{{ $secrets }}/database-url"
{{- if ne .service "gateway" }}
{{ $prefix }}_IDENTITY_KEYS_DIR: {{ include "flotilla.identityDir" . | quote }}
{{- end }}
{{- if .facts.signs }}
{{ $prefix }}_IDENTITY_PRIVATE_KEY_FILE: "{{ $secrets }}/identity-private-key"
{{- end }}
{{- if .facts.redis }}
{{ $prefix }}_REDIS_URL_FILE: "{{ $secrets }}/redis-url"
{{- end }}
{{- range .facts.calls }}
{{ $prefix }}_{{ upper . }}_TARGET: {{ include "flotilla.target" (dict "root" $.root "service" . "color" $.color) | quote }}
{{- end }}
{{- if eq .service "gateway" }}
GATEWAY_KEY_PEPPER_FILE: "{{ $secrets }}/key-pepper"
{{- if $values.secrets.gateway.keys.adminKey }}
GATEWAY_ADMIN_KEY_FILE: "{{ $secrets }}/admin-key"
{{- end }}
GATEWAY_CORS_ORIGINS: {{ join "," $values.gateway.corsOrigins | quote }}
GATEWAY_TRUSTED_PROXIES: {{ join "," $values.gateway.trustedProxies | quote }}
GATEWAY_REQUESTS_PER_MINUTE: {{ include "flotilla.text" $values.gateway.requestsPerMinute | quote }}
{{- end }}
{{- if .facts.agents }}
{{ $prefix }}_AGENTS_DIR: "/etc/flotilla/agents"
{{- end }}
{{- if .facts.models }}
{{- include "flotilla.modelEnvironment" .root }}
{{- end }}
{{- with include "flotilla.caFile" . }}
{{- /* What OpenSSL's default contexts read (models, Redis), and gRPC (the collector); Postgres is told in its URL. */}}
SSL_CERT_FILE: {{ . | quote }}
GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: {{ . | quote }}
{{- end }}
OTEL_RESOURCE_ATTRIBUTES: 'flotilla.color={{ .color }},service.version={{ include "flotilla.tag" . }},k8s.namespace.name={{ .root.Release.Namespace }}'
{{- with $values.telemetry.otlpEndpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- if not (kindIs "invalid" $values.telemetry.traceRatio) }}
{{ $prefix }}_TRACE_RATIO: {{ include "flotilla.text" $values.telemetry.traceRatio | quote }}
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
FLOTILLA_MODEL_BASE_URL: 'http://{{ include "flotilla.host" (dict "root" . "name" (printf "%s-model" (include "flotilla.name" .))) }}:{{ $model.development.port }}/v1'
FLOTILLA_MODEL_NAME: "flotilla-dev"
FLOTILLA_EMBEDDING_MODEL: "flotilla-dev-embed"
{{- else }}
{{- if not (or $model.routes (and $model.baseUrl $model.name)) }}
{{- fail "no model is named: set model.baseUrl and model.name, or model.routes, or for a trial model.development.enabled=true" }}
{{- end }}
{{- with $model.baseUrl }}
FLOTILLA_MODEL_BASE_URL: {{ . | quote }}
{{- end }}
{{- with $model.name }}
FLOTILLA_MODEL_NAME: {{ . | quote }}
{{- end }}
{{- with $model.embeddingModel }}
FLOTILLA_EMBEDDING_MODEL: {{ . | quote }}
{{- end }}
{{- with $model.embeddingBaseUrl }}
FLOTILLA_EMBEDDING_BASE_URL: {{ . | quote }}
{{- end }}
{{- if include "flotilla.secretName" (dict "root" . "kind" "model") }}
{{- with $keys.apiKey }}
FLOTILLA_MODEL_API_KEY_FILE: '{{ include "flotilla.modelSecretDir" $ }}/{{ . }}'
{{- end }}
{{- if and $model.embeddingBaseUrl $keys.embeddingApiKey }}
FLOTILLA_EMBEDDING_API_KEY_FILE: '{{ include "flotilla.modelSecretDir" . }}/{{ $keys.embeddingApiKey }}'
{{- end }}
{{- end }}
{{- end }}
{{- if $model.routes }}
FLOTILLA_MODEL_ROUTES_FILE: "/etc/flotilla/model/routes.yaml"
{{- end }}
{{- end -}}
