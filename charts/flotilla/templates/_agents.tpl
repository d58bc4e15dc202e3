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
- name: {{ .prefix }}agents
  configMap:
    name: {{ include "flotilla.name" .root }}-agents-{{ .color }}{{ .suffix }}
    {{- /* While an upgrade that takes an agent away is under way, pods of the earlier text must still be able to start. */}}
    optional: true
    items:
      {{- range $path, $_ := fromJson (include "flotilla.agentFiles" .root) }}
      - { key: {{ include "flotilla.agentKey" $path }}, path: {{ $path }} }
      {{- end }}
{{- end -}}

{{/* The ConfigMaps of a colour's agents and routes. */}}
{{- define "flotilla.agentConfigMaps" -}}
{{- $contents := dict "agents" dict -}}
{{- range $path, $content := fromJson (include "flotilla.agentFiles" .root) -}}
{{- $_ := set $contents.agents (include "flotilla.agentKey" $path) $content -}}
{{- end -}}
{{- with .root.Values.model.routes -}}
{{- $_ := set $contents "routes" (dict "routes.yaml" (toYaml (dict "routes" .))) -}}
{{- end -}}
{{- range $kind, $data := $contents }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "flotilla.name" $.root }}-{{ $kind }}-{{ $.color }}{{ $.suffix }}
  namespace: {{ $.root.Release.Namespace }}
  labels:
    {{- include "flotilla.labels" $ | nindent 4 }}
  {{- if $.suffix }}
  annotations:
    {{- include "flotilla.earlyAnnotations" -10 | nindent 4 }}
  {{- end }}
data:
  {{- range $key, $value := $data }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end -}}
