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

{{/* The keys of Secrets that a service sees, and the files they become: only what it needs of each. */}}
{{- define "flotilla.secretFiles" -}}
{{- $secrets := .root.Values.secrets -}}
{{- $dir := include "flotilla.secretsDir" . -}}
{{- $files := list (dict "kind" "database" "key" (get $secrets.database.keys .service) "path" "database-url" "dir" $dir) -}}
{{- if .facts.signs -}}
{{- $key := get $secrets.identity.keys (printf "%sPrivate" .service) -}}
{{- $files = append $files (dict "kind" "identity" "key" $key "path" "identity-private-key" "dir" $dir) -}}
{{- end -}}
{{- if .facts.redis -}}
{{- $files = append $files (dict "kind" "redis" "key" $secrets.redis.keys.url "path" "redis-url" "dir" $dir) -}}
{{- end -}}
{{- if eq .service "gateway" -}}
{{- $files = append $files (dict "kind" "gateway" "key" $secrets.gateway.keys.keyPepper "path" "key-pepper" "dir" $dir) -}}
{{- with $secrets.gateway.keys.adminKey -}}
{{- $files = append $files (dict "kind" "gateway" "key" . "path" "admin-key" "dir" $dir) -}}
{{- end -}}
{{- else -}}
{{- range $issuer := list "gateway" "orchestrator" -}}
{{- $key := get $secrets.identity.keys (printf "%sPublic" $issuer) -}}
{{- $file := printf "%s.pub" $issuer -}}
{{- $files = append $files (dict "kind" "identity" "key" $key "path" $file "dir" (include "flotilla.identityDir" $)) -}}
{{- end -}}
{{- end -}}
{{- $named := list -}}
{{- range $files -}}
{{- $name := include "flotilla.secretName" (dict "root" $.root "kind" .kind "suffix" $.suffix) -}}
{{- $named = append $named (merge (dict "secret" $name) .) -}}
{{- end -}}
{{- toJson $named -}}
{{- end -}}

{{- define "flotilla.secretVolumes" -}}
{{- $files := fromJsonArray (include "flotilla.secretFiles" .) -}}
{{- $dirs := dict "secrets" (include "flotilla.secretsDir" .) -}}
{{- if ne .service "gateway" -}}{{- $_ := set $dirs "identity" (include "flotilla.identityDir" .) -}}{{- end -}}
{{- range $volume, $dir := $dirs }}
- name: {{ $.prefix }}{{ $volume }}
  projected:
    defaultMode: 0440
    sources:
      {{- range $files }}
      {{- if eq .dir $dir }}
      - secret:
          name: {{ .secret }}
          items: [{ key: {{ .key }}, path: {{ .path }} }]
          {{- if $.optional }}
          optional: true
          {{- end }}
      {{- end }}
      {{- end }}
{{- end }}
{{- if .facts.models }}
{{- with include "flotilla.secretName" (dict "root" .root "suffix" .suffix "kind" "model") }}
- name: {{ $.prefix }}model-secret
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    {{- if $.optional }}
    optional: true
    {{- end }}
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
