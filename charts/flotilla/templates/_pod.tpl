{{/* What all our pods have in common: they pass the Pod Security standard `restricted`. */}}

{{- define "flotilla.podSecurity" -}}
{{- $id := .userId | default 10001 | int -}}
runAsNonRoot: true
runAsUser: {{ $id }}
runAsGroup: {{ $id }}
fsGroup: {{ $id }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "flotilla.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/*
Labels and annotations of a pod: .version, .annotations, and what the values add. Pods that are no service's, hooks and
helpers, take what `defaults` says, here and in their placement.
*/}}
{{- define "flotilla.podMetadata" -}}
{{- $values := .values | default .root.Values.defaults -}}
labels:
  {{- include "flotilla.selectorLabels" . | nindent 2 }}
  {{- with .version }}
  app.kubernetes.io/version: {{ . | quote }}
  {{- end }}
  {{- with mergeOverwrite (dict) .root.Values.commonLabels $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with mergeOverwrite (dict) $values.podAnnotations (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "flotilla.placement" -}}
{{- $values := .values | default .root.Values.defaults -}}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "flotilla.podBasics" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "flotilla.podSecurity" . | nindent 2 }}
dnsConfig:
  options:
    - { name: ndots, value: "2" }
{{- include "flotilla.pullSecrets" .root }}
{{- include "flotilla.placement" . }}
{{- end -}}

{{/* The file of CA certificates that pods trust, if they were given one. */}}
{{- define "flotilla.caFile" -}}
{{- with .root.Values.caBundle -}}
{{- if .configMap -}}/etc/flotilla/ca/{{ .key }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flotilla.caVolume" -}}
{{- if include "flotilla.caFile" . }}
- name: {{ .prefix }}ca
  configMap:
    name: {{ .root.Values.caBundle.configMap }}
    items: [{ key: {{ .root.Values.caBundle.key }}, path: {{ .root.Values.caBundle.key }} }]
    {{- if .optional }}
    optional: true
    {{- end }}
{{- end }}
{{- end -}}

{{- define "flotilla.caMount" -}}
{{- if include "flotilla.caFile" . }}
- { name: {{ .prefix }}ca, mountPath: /etc/flotilla/ca, readOnly: true }
{{- end }}
{{- end -}}

{{- define "flotilla.tmpVolume" -}}
- name: {{ .prefix }}tmp
  emptyDir: { sizeLimit: {{ .size | default "64Mi" }} }
{{- end -}}

{{/*
The bundled Postgres starts beside everything else: wait for it instead of failing and being restarted. .resources are
those of what waits, so that waiting costs the pod nothing.
*/}}
{{- define "flotilla.waitForDatabase" -}}
{{- if .root.Values.postgres.enabled }}
initContainers:
  - name: wait-for-postgres
    image: {{ include "flotilla.image" . }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    command:
      - python
      - -c
      - |
        import socket, time
        while True:
            try:
                socket.create_connection(("{{ include "flotilla.name" .root }}-postgres", 5432), timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
    securityContext:
      {{- include "flotilla.containerSecurity" . | nindent 6 }}
    resources:
      {{- toYaml .resources | nindent 6 }}
{{- end }}
{{- end -}}
