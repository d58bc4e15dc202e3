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
    - { protocol: UDP, port: 53 }
    - { protocol: TCP, port: 53 }
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

{{/* "true" if the block .cidr holds the block .address; IPv6 is only understood as ::/0. */}}
{{- define "flotilla.blockHolds" -}}
{{- $cidr := splitList "/" .cidr -}}
{{- $address := splitList "/" .address -}}
{{- if contains ":" .cidr -}}
{{- if or (eq .cidr .address) (and (contains ":" .address) (eq .cidr "::/0")) -}}true{{- end -}}
{{- else if not (contains ":" .address) -}}
{{- $bits := index $cidr 1 | int -}}
{{- $block := dict "of" (include "flotilla.addressNumber" (index $cidr 0) | int64) -}}
{{- $other := dict "of" (include "flotilla.addressNumber" (index $address 0) | int64) -}}
{{- range until (int (sub 32 $bits)) -}}
{{- $_ := set $block "of" (div $block.of 2) -}}
{{- $_ := set $other "of" (div $other.of 2) -}}
{{- end -}}
{{- if and (eq $block.of $other.of) (le $bits (index $address 1 | int)) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flotilla.addressNumber" -}}
{{- $number := dict "is" 0 -}}
{{- range splitList "." . -}}{{- $_ := set $number "is" (add (mul $number.is 256) (int64 .)) -}}{{- end -}}
{{- $number.is -}}
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

{{/* One policy: .service, .ingress and .egress (rules as text, empty for none). */}}
{{- define "flotilla.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "flotilla.name" .root }}-{{ .service }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "flotilla.labels" . | nindent 4 }}
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
