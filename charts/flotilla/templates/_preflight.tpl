{{/* Of what is made before anything changes, in the order of the weights, and goes once all of it has succeeded. */}}
{{- define "flotilla.earlyAnnotations" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
helm.sh/hook-output-log-policy: hook-failed
{{- end -}}

{{/* A service's image with its settings, Secrets and agents, running no service but a look at them. */}}
{{- define "flotilla.preflightContainer" -}}
- name: {{ .service }}
  image: {{ include "flotilla.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command:
    - python
    - /etc/flotilla/preflight/preflight.py
    - {{ .service }}
    - {{ include "flotilla.preflightFiles" . | squote }}
    {{- if .facts.models }}
    - {{ include "flotilla.preflightModelHint" . | quote }}
    {{- end }}
  env:
    {{- range $name, $value := fromYaml (include "flotilla.environment" .) }}
    - { name: {{ $name }}, value: {{ $value | quote }} }
    {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  securityContext:
    {{- include "flotilla.containerSecurity" . | nindent 4 }}
  resources:
    {{- toYaml (.root.Values.preflight.resources | default .root.Values.migration.resources) | nindent 4 }}
  volumeMounts:
    - { name: script, mountPath: /etc/flotilla/preflight, readOnly: true }
    {{- include "flotilla.mounts" . | nindent 4 }}
{{- end -}}

{{/* The files that Secrets must give, and what to say where one is missing. */}}
{{- define "flotilla.preflightFiles" -}}
{{- $files := dict -}}
{{- range fromJsonArray (include "flotilla.secretFiles" .) -}}
{{- $_ := set $files (printf "%s/%s" .dir .path) (printf "secrets.%s: there is no Secret %s with the key %s in the namespace %s" .kind .secret .key $.root.Release.Namespace) -}}
{{- end -}}
{{- with include "flotilla.caFile" . -}}
{{- $bundle := $.root.Values.caBundle -}}
{{- $_ := set $files . (printf "caBundle: there is no ConfigMap %s with the key %s in the namespace %s" $bundle.configMap $bundle.key $.root.Release.Namespace) -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* Which files the models' keys are in only the routes say; this is what to say where one is missing. */}}
{{- define "flotilla.preflightModelHint" -}}
{{- with include "flotilla.secretName" (dict "root" .root "suffix" .suffix "kind" "model") -}}
secrets.model: there is no Secret {{ . }} with this key in the namespace {{ $.root.Release.Namespace }}
{{- else -}}
secrets.model.existingSecret names no Secret
{{- end -}}
{{- end -}}

{{/* Where the migration is a hook it would wait for its Secret without a word, so the preflight looks at that too. */}}
{{- define "flotilla.preflightMigration" -}}
{{- $secrets := .root.Values.secrets -}}
{{- $name := include "flotilla.secretName" (dict "root" .root "kind" "migration") -}}
{{- $file := printf "%s/owner-url" (include "flotilla.secretsDir" .) -}}
{{- $complaint := printf "secrets.migration: there is no Secret %s with the key %s in the namespace %s" $name $secrets.migration.keys.url .root.Release.Namespace -}}
- name: migration
  image: {{ include "flotilla.image" (dict "root" .root "service" "gateway" "color" .color) }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command:
    - python
    - /etc/flotilla/preflight/preflight.py
    - migration
    - {{ dict $file $complaint | toJson | squote }}
  terminationMessagePolicy: FallbackToLogsOnError
  securityContext:
    {{- include "flotilla.containerSecurity" . | nindent 4 }}
  resources:
    {{- toYaml (.root.Values.preflight.resources | default .root.Values.migration.resources) | nindent 4 }}
  volumeMounts:
    - { name: script, mountPath: /etc/flotilla/preflight, readOnly: true }
    - { name: migration-secrets, mountPath: {{ include "flotilla.secretsDir" . }}, readOnly: true }
{{- end -}}

{{- define "flotilla.preflightMigrationVolume" -}}
- name: migration-secrets
  secret:
    secretName: {{ include "flotilla.secretName" (dict "root" .root "kind" "migration") }}
    defaultMode: 0440
    optional: true
    items: [{ key: {{ .root.Values.secrets.migration.keys.url }}, path: owner-url }]
{{- end -}}
