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

{{- define "flotilla.podBasics" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "flotilla.podSecurity" . | nindent 2 }}
dnsConfig:
  options:
    - { name: ndots, value: "2" }
{{- include "flotilla.pullSecrets" .root }}
{{- end -}}

{{- define "flotilla.tmpVolume" -}}
- name: {{ .prefix }}tmp
  emptyDir: { sizeLimit: {{ .size | default "64Mi" }} }
{{- end -}}

{{/* The bundled Postgres starts beside everything else: wait for it instead of failing and being restarted. */}}
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
      requests: { cpu: 10m, memory: 32Mi }
      limits: { memory: 64Mi }
{{- end }}
{{- end -}}
