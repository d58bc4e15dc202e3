{{/* Agents and prompts, path → content: the built-in ones, and over them the values'. */}}
{{- define "flotilla.agentFiles" -}}
{{- $files := dict -}}
{{- if .Values.agents.builtIn -}}
{{- range $path, $content := .Files.Glob "agents/**" -}}
{{- $_ := set $files (trimPrefix "agents/" $path) (toString $content) -}}
{{- end -}}
{{- end -}}
{{- $files = mergeOverwrite $files (deepCopy .Values.agents.files) -}}
{{- if not $files -}}
{{- fail "there is no agent: set agents.builtIn=true or give agents.files" -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* A ConfigMap's keys have no slash. */}}
{{- define "flotilla.agentKey" -}}
{{- if contains "__" . -}}{{- fail (printf "agents.files: %q: a path may not contain two underscores in a row" .) -}}{{- end -}}
{{- replace "/" "__" . -}}
{{- end -}}

{{- define "flotilla.agentVolume" -}}
- name: agents
  configMap:
    name: {{ include "flotilla.name" .root }}-agents-{{ .color }}
    items:
      {{- range $path, $_ := fromJson (include "flotilla.agentFiles" .root) }}
      - { key: {{ include "flotilla.agentKey" $path }}, path: {{ $path }} }
      {{- end }}
{{- end -}}
