{{/* How many pods there are, and how many may be away. */}}

{{- define "flotilla.autoscaler" -}}
{{- $scaling := .values.autoscaling -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail (printf "services.%s.autoscaling (over defaults.autoscaling): minReplicas is %v, which is more than maxReplicas, %v" .service $scaling.minReplicas $scaling.maxReplicas) -}}
{{- end -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "flotilla.workloadName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "flotilla.labels" . | nindent 4 }}
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: {{ include "flotilla.workloadName" . }} }
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: { type: Utilization, averageUtilization: {{ $scaling.targetCPUUtilizationPercentage }} }
  behavior:
    scaleUp:
      {{- toYaml $scaling.scaleUp | nindent 6 }}
    scaleDown:
      {{- toYaml $scaling.scaleDown | nindent 6 }}
{{- end -}}

{{- define "flotilla.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "flotilla.workloadName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "flotilla.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "flotilla.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* Clients resolve all pods and balance themselves; those that are not ready are not among them. */}}
{{- define "flotilla.headlessService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "flotilla.workloadName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "flotilla.labels" . | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "flotilla.selectorLabels" . | nindent 4 }}
  ports:
    - { name: grpc, port: 50051, targetPort: grpc, appProtocol: kubernetes.io/h2c }
{{- end -}}
