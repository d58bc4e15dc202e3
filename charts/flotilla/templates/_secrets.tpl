{{/* Which Secret holds what, and where its keys become files. */}}

{{- define "flotilla.secretsDir" -}}/run/flotilla/secrets{{- end -}}
{{- define "flotilla.identityDir" -}}/run/flotilla/identity{{- end -}}
{{- define "flotilla.modelSecretDir" -}}/run/flotilla/model{{- end -}}

{{- define "flotilla.isDevelopment" -}}
{{- $development := .Values.secrets.development -}}
{{- if $development.enabled -}}
{{- if not (has .Values.appEnv (list "development" "test")) -}}
{{- fail (printf "secrets.development.enabled makes Secrets of publicly known values and appEnv is %q: name your own Secrets in secrets.<kind>.existingSecret, or set appEnv to development or test" .Values.appEnv) -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{/*
The name of the Secret of a kind. Hooks run before ordinary objects exist, so what the chart makes for them has a
suffix of its own.
*/}}
{{- define "flotilla.secretName" -}}
{{- $given := (get .root.Values.secrets .kind).existingSecret -}}
{{- if $given -}}
{{- $given -}}
{{- else if and (include "flotilla.isDevelopment" .root) (include "flotilla.canMake" .) -}}
{{- printf "%s-%s%s" (include "flotilla.name" .root) .kind (.suffix | default "") -}}
{{- else if ne .kind "model" -}}
{{- fail (printf "secrets.%s.existingSecret is not set: name a Secret with the keys %s%s. For a trial, values-development.yaml brings everything" .kind (get .root.Values.secrets .kind).keys (include "flotilla.bundledHint" .)) -}}
{{- end -}}
{{- end -}}

{{- define "flotilla.bundledHint" -}}
{{- if has .kind (list "database" "migration") }} (or postgres.enabled with secrets.development.enabled){{ end -}}
{{- if eq .kind "redis" }} (or valkey.enabled with secrets.development.enabled){{ end -}}
{{- end -}}

{{- define "flotilla.canMake" -}}
{{- $values := .root.Values -}}
{{- if has .kind (list "identity" "gateway") -}}true
{{- else if has .kind (list "database" "migration") -}}{{- if $values.postgres.enabled -}}true{{- end -}}
{{- else if eq .kind "redis" -}}{{- if $values.valkey.enabled -}}true{{- end -}}
{{- else if eq .kind "model" -}}{{- if $values.secrets.development.modelApiKey -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The volumes of Secrets that a service sees: only what it needs of each. */}}
{{- define "flotilla.secretVolumes" -}}
{{- $secrets := .root.Values.secrets -}}
{{- $identity := include "flotilla.secretName" (dict "root" .root "suffix" .suffix "kind" "identity") -}}
- name: {{ .prefix }}secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "flotilla.secretName" (dict "root" .root "suffix" .suffix "kind" "database") }}
          items:
            - { key: {{ get $secrets.database.keys .service }}, path: database-url }
{{- if .facts.signs }}
      - secret:
          name: {{ $identity }}
          items:
            - { key: {{ get $secrets.identity.keys (printf "%sPrivate" .service) }}, path: identity-private-key }
{{- end }}
{{- if .facts.redis }}
      - secret:
          name: {{ include "flotilla.secretName" (dict "root" .root "suffix" .suffix "kind" "redis") }}
          items:
            - { key: {{ $secrets.redis.keys.url }}, path: redis-url }
{{- end }}
{{- if eq .service "gateway" }}
      - secret:
          name: {{ include "flotilla.secretName" (dict "root" .root "suffix" .suffix "kind" "gateway") }}
          items:
            - { key: {{ $secrets.gateway.keys.keyPepper }}, path: key-pepper }
            {{- with $secrets.gateway.keys.adminKey }}
            - { key: {{ . }}, path: admin-key }
            {{- end }}
{{- end }}
{{- if ne .service "gateway" }}
- name: {{ .prefix }}identity
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ $identity }}
          items:
            - { key: {{ $secrets.identity.keys.gatewayPublic }}, path: gateway.pub }
            - { key: {{ $secrets.identity.keys.orchestratorPublic }}, path: orchestrator.pub }
{{- end }}
{{- if .facts.models }}
{{- with include "flotilla.secretName" (dict "root" .root "suffix" .suffix "kind" "model") }}
- name: {{ .prefix }}model-secret
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- end -}}

{{- define "flotilla.secretMounts" -}}
- { name: {{ .prefix }}secrets, mountPath: {{ include "flotilla.secretsDir" . }}, readOnly: true }
{{- if ne .service "gateway" }}
- { name: {{ .prefix }}identity, mountPath: {{ include "flotilla.identityDir" . }}, readOnly: true }
{{- end }}
{{- if and .facts.models (include "flotilla.secretName" (dict "root" .root "suffix" .suffix "kind" "model")) }}
- { name: {{ .prefix }}model-secret, mountPath: {{ include "flotilla.modelSecretDir" . }}, readOnly: true }
{{- end }}
{{- end -}}
