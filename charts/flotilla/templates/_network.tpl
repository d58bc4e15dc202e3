{{/* Who may talk to whom: everything that is not drawn here is refused. */}}

{{/* A peer among our own pods. */}}
{{- define "flotilla.peer" -}}
podSelector:
  matchLabels:
    {{- include "flotilla.selectorLabels" . | nindent 4 }}
{{- end -}}

{{- define "flotilla.dnsRule" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    {{- range .Values.networkPolicy.dnsPorts | default (list 53) }}
    - { protocol: UDP, port: {{ . }} }
    - { protocol: TCP, port: {{ . }} }
    {{- end }}
{{- end -}}

{{/* A rule between two of ours: .peers (components), .port, and whether they are the `to` or the `from`. */}}
{{- define "flotilla.ownRule" -}}
- {{ .direction }}:
    {{- range .peers }}
    - {{ include "flotilla.peer" (dict "root" $.root "service" .) | nindent 6 | trim }}
    {{- end }}
  ports:
    - { protocol: TCP, port: {{ .port }} }
{{- end -}}

{{/*
Rules to the outside, as given, but never to a cloud's metadata service: where a block holds its address, it is cut
out. A rule without destinations would reach it too, so it is refused.
*/}}
{{- define "flotilla.outsideRules" -}}
{{- range $rule := .rules }}
{{- if not $rule.to }}
{{- fail (printf "networkPolicy.egress.%s: a rule names no destination (to); give blocks of addresses or selectors" $.name) }}
{{- end }}
{{- range $peer := $rule.to }}
{{- with $peer.ipBlock }}
{{- $except := .except | default list }}
{{- range $address := $.root.Values.networkPolicy.metadataAddresses }}
{{- if include "flotilla.blockHolds" (dict "cidr" $address "address" $peer.ipBlock.cidr) }}
{{- fail (printf "networkPolicy.egress.%s: %s lies in %s, which networkPolicy.metadataAddresses refuses" $.name $peer.ipBlock.cidr $address) }}
{{- end }}
{{- if include "flotilla.blockHolds" (dict "cidr" $peer.ipBlock.cidr "address" $address) }}
{{- $except = append $except $address }}
{{- end }}
{{- end }}
{{- if $except }}
{{- $_ := set $peer "ipBlock" (merge (dict "except" (uniq $except)) $peer.ipBlock) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .rules }}
{{- toYaml . }}
{{- end }}
{{- end -}}

{{/* "true" if the block .cidr holds the block .address. */}}
{{- define "flotilla.blockHolds" -}}
{{- $holder := splitList "/" .cidr -}}
{{- $held := splitList "/" .address -}}
{{- $length := index $holder 1 | int -}}
{{- $ofHolder := include "flotilla.addressBits" (first $holder) -}}
{{- $ofHeld := include "flotilla.addressBits" (first $held) -}}
{{- $isOneFamily := eq (len $ofHolder) (len $ofHeld) -}}
{{- if and $isOneFamily (le $length (index $held 1 | int)) (hasPrefix (substr 0 $length $ofHolder) $ofHeld) -}}true{{- end -}}
{{- end -}}

{{/* An address as its 32 or 128 binary digits. */}}
{{- define "flotilla.addressBits" -}}
{{- if contains ":" . -}}
{{- $halves := splitList "::" . -}}
{{- $left := splitList ":" (first $halves) | compact -}}
{{- $right := splitList ":" (last $halves) | compact -}}
{{- $zeros := list -}}
{{- if eq (len $halves) 2 -}}
{{- range until (sub 8 (len (concat $left $right)) | int) -}}{{- $zeros = append $zeros "0" -}}{{- end -}}
{{- else -}}
{{- $right = list -}}
{{- end -}}
{{- range concat $left $zeros $right -}}{{- printf "%016b" (int64 (printf "0x%s" .)) -}}{{- end -}}
{{- else -}}
{{- range splitList "." . -}}{{- printf "%08b" (int64 .) -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flotilla.databaseRule" -}}
{{- if .Values.postgres.enabled -}}
{{ include "flotilla.ownRule" (dict "root" . "direction" "to" "peers" (list "postgres") "port" 5432) }}
{{- else -}}
{{ include "flotilla.outsideRules" (dict "root" . "name" "database" "rules" (deepCopy .Values.networkPolicy.egress.database)) }}
{{- end -}}
{{- end -}}

{{/* What a service may reach. */}}
{{- define "flotilla.serviceEgress" -}}
{{- $root := .root -}}
{{- $egress := $root.Values.networkPolicy.egress -}}
{{ include "flotilla.dnsRule" $root }}
{{- with .facts.calls }}
{{ include "flotilla.ownRule" (dict "root" $root "direction" "to" "peers" . "port" 50051) }}
{{- end }}
{{ include "flotilla.databaseRule" $root }}
{{- if .facts.redis }}
{{- if $root.Values.valkey.enabled }}
{{ include "flotilla.ownRule" (dict "root" $root "direction" "to" "peers" (list "valkey") "port" 6379) }}
{{- else }}
{{ include "flotilla.outsideRules" (dict "root" $root "name" "redis" "rules" (deepCopy $egress.redis)) }}
{{- end }}
{{- end }}
{{- if .facts.models }}
{{- if $root.Values.model.development.enabled }}
{{ include "flotilla.ownRule" (dict "root" $root "direction" "to" "peers" (list "model") "port" $root.Values.model.development.port) }}
{{- else }}
{{ include "flotilla.outsideRules" (dict "root" $root "name" "model" "rules" (deepCopy $egress.model)) }}
{{- end }}
{{- end }}
{{- if and (eq .service "tool") $egress.tool }}
{{ include "flotilla.outsideRules" (dict "root" $root "name" "tool" "rules" (deepCopy $egress.tool)) }}
{{- end }}
{{- if $root.Values.telemetry.otlpEndpoint }}
{{ include "flotilla.outsideRules" (dict "root" $root "name" "telemetry" "rules" (deepCopy $egress.telemetry)) }}
{{- end }}
{{- end -}}

{{/* Who may reach a service: its callers, everybody in front for the gateway, and who scrapes metrics. */}}
{{- define "flotilla.serviceIngress" -}}
{{- $root := .root -}}
{{- $callers := list -}}
{{- range $service, $facts := fromYaml (include "flotilla.catalogue" $root) -}}
{{- if has $.service $facts.calls -}}{{- $callers = append $callers $service -}}{{- end -}}
{{- end -}}
{{- if eq .service "gateway" }}
- ports:
    - { protocol: TCP, port: 8080 }
  {{- with $root.Values.networkPolicy.gatewayFrom }}
  from:
    {{- toYaml . | nindent 4 }}
    - {{ include "flotilla.peer" (dict "root" $root "service" "test") | nindent 6 | trim }}
  {{- end }}
{{- end }}
{{- with $callers }}
{{ include "flotilla.ownRule" (dict "root" $root "direction" "from" "peers" . "port" 50051) }}
{{- end }}
{{- with $root.Values.networkPolicy.metricsFrom }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - { protocol: TCP, port: 9090 }
{{- end }}
{{- end -}}

{{/* One policy: .service, .annotations, .ingress and .egress (as text, empty for none). */}}
{{- define "flotilla.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "flotilla.name" .root }}-{{ .service }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "flotilla.labels" . | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  podSelector:
    matchLabels:
      {{- include "flotilla.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with .ingress | default "" | trim }}
  ingress:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .egress | default "" | trim }}
  egress:
    {{- . | nindent 4 }}
  {{- end }}
{{- end -}}
