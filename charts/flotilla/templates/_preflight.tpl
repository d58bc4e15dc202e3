{{- define "flotilla.preflightAnnotations" -}}
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
  env:
    {{- range $name, $value := fromYaml (include "flotilla.environment" .) }}
    - { name: {{ $name }}, value: {{ $value | quote }} }
    {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  securityContext:
    {{- include "flotilla.containerSecurity" . | nindent 4 }}
  resources:
    requests: { cpu: 10m, memory: 64Mi }
    limits: { memory: 256Mi }
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
{{- if .facts.models -}}
{{- with include "flotilla.secretName" (dict "root" .root "suffix" .suffix "kind" "model") -}}
{{- $key := $.root.Values.secrets.model.keys.apiKey -}}
{{- if $.root.Values.model.baseUrl -}}
{{- $_ := set $files (printf "%s/%s" (include "flotilla.modelSecretDir" $) $key) (printf "secrets.model: there is no Secret %s with the key %s in the namespace %s" . $key $.root.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}
