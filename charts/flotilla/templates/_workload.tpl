{{/* The one shape of a service's pods. */}}

{{- define "flotilla.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "flotilla.workloadName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "flotilla.labels" . | nindent 4 }}
spec:
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  minReadySeconds: 5
  revisionHistoryLimit: 3
  progressDeadlineSeconds: 600
  strategy:
    type: RollingUpdate
    rollingUpdate: { maxSurge: 25%, maxUnavailable: 0 }
  selector:
    matchLabels:
      {{- include "flotilla.selectorLabels" . | nindent 6 }}
  template:
    {{- include "flotilla.podTemplate" . | nindent 4 }}
{{- end -}}

{{- define "flotilla.podTemplate" -}}
metadata:
  {{- $version := include "flotilla.tag" . | trunc 63 }}
  {{- $annotations := dict "checksum/config" (include "flotilla.configChecksum" .) }}
  {{- include "flotilla.podMetadata" (merge (dict "version" $version "annotations" $annotations) .) | nindent 2 }}
spec:
  serviceAccountName: {{ include "flotilla.name" .root }}-{{ .service }}
  terminationGracePeriodSeconds: {{ add .values.drain.maxSeconds .values.drain.delaySeconds 30 }}
  {{- include "flotilla.podBasics" . | nindent 2 }}
  {{- with include "flotilla.topologySpread" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "flotilla.waitForDatabase" (merge (dict "resources" .values.resources) .) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: {{ .service }}
      image: {{ include "flotilla.image" . }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: [flotilla_{{ .service }}]
      envFrom:
        - configMapRef: { name: {{ include "flotilla.workloadName" . }} }
      ports:
        - { name: {{ .facts.port.name }}, containerPort: {{ .facts.port.number }} }
        {{- if eq .facts.port.name "grpc" }}
        - { name: health, containerPort: 50052 }
        {{- end }}
        - { name: metrics, containerPort: 9090 }
      terminationMessagePolicy: FallbackToLogsOnError
      {{- include "flotilla.probes" . | trim | nindent 6 }}
      lifecycle:
        preStop:
          exec:
            command: {{ include "flotilla.drainCommand" . }}
      securityContext:
        {{- include "flotilla.containerSecurity" . | nindent 8 }}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      volumeMounts:
        {{- include "flotilla.mounts" . | nindent 8 }}
  volumes:
    {{- include "flotilla.volumes" . | nindent 4 }}
{{- end -}}

{{/* Volumes have a prefix where several services share a pod, which only the preflight does. */}}
{{- define "flotilla.mounts" -}}
- { name: {{ .prefix }}tmp, mountPath: /tmp }
{{ include "flotilla.secretMounts" . }}
{{- if .facts.agents }}
- { name: {{ .prefix }}agents, mountPath: /etc/flotilla/agents, readOnly: true }
{{- end }}
{{- if and .facts.models .root.Values.model.routes }}
- { name: {{ .prefix }}model-routes, mountPath: /etc/flotilla/model, readOnly: true }
{{- end }}
{{- include "flotilla.caMount" . }}
{{- end -}}

{{- define "flotilla.volumes" -}}
{{ include "flotilla.tmpVolume" (dict "size" .values.tmpSize "prefix" .prefix) }}
{{ include "flotilla.secretVolumes" . | trim }}
{{- if .facts.agents }}
{{ include "flotilla.agentVolume" . }}
{{- end }}
{{- if and .facts.models .root.Values.model.routes }}
- name: {{ .prefix }}model-routes
  configMap: { name: {{ include "flotilla.name" .root }}-routes-{{ .color }}{{ .suffix }} }
{{- end }}
{{- include "flotilla.caVolume" . }}
{{- end -}}

{{/* Changes whenever the pods must be made anew although their own text stays the same. */}}
{{- define "flotilla.configChecksum" -}}
{{- $parts := list (include "flotilla.environment" .) -}}
{{- if .facts.agents -}}{{- $parts = append $parts (include "flotilla.agentFiles" .root) -}}{{- end -}}
{{- if .facts.models -}}{{- $parts = append $parts (toJson .root.Values.model.routes) -}}{{- end -}}
{{- if include "flotilla.isDevelopment" .root -}}{{- $parts = append $parts (toJson .root.Values.secrets.development) -}}{{- end -}}
{{- join "\n" $parts | sha256sum -}}
{{- end -}}

{{/* kubelet's gRPC probe speaks no TLS, so health has a port of its own; no liveness probe asks a dependency. */}}
{{- define "flotilla.probes" -}}
{{- if eq .facts.port.name "grpc" }}
startupProbe:
  grpc: { port: 50052 }
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 180
readinessProbe:
  grpc: { port: 50052 }
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  grpc: { port: 50052 }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- else }}
startupProbe:
  httpGet: { path: /health, port: http }
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 180
{{- /* A store that is away for less than half a minute is answered by the gateway itself, with Retry-After. */}}
readinessProbe:
  httpGet: { path: /ready, port: http }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 6
livenessProbe:
  httpGet: { path: /health, port: http }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}
{{- end -}}

{{- define "flotilla.drainCommand" -}}
{{- if .values.drain.delaySeconds -}}
[/bin/sh, -c, "sleep {{ .values.drain.delaySeconds }}; exec python -m flotilla_common.drain"]
{{- else -}}
[python, -m, flotilla_common.drain]
{{- end -}}
{{- end -}}

{{- define "flotilla.topologySpread" -}}
{{- if .values.topologySpread.enabled }}
topologySpreadConstraints:
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $.values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "flotilla.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end -}}
