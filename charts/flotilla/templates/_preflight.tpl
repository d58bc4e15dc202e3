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
    - -c
    - |
      {{- .root.Files.Get "files/preflight.py" | trim | nindent 6 }}
    - {{ .service }}
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
    {{- include "flotilla.mounts" . | nindent 4 }}
{{- end -}}
