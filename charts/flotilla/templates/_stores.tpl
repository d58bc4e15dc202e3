{{/* What the bundled stores are set up with. */}}

{{/* Roles, database, extension and schemas, as an administrator makes them once. */}}
{{- define "flotilla.provisionSql" -}}
{{- $password := .Values.secrets.development.password | replace "'" "''" -}}
CREATE ROLE flotilla_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD '{{ $password }}';
{{- range $service, $_ := fromYaml (include "flotilla.catalogue" .) }}
CREATE ROLE flotilla_{{ $service }} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD '{{ $password }}';
ALTER ROLE flotilla_{{ $service }} SET search_path = {{ $service }}, public;
{{- end }}
CREATE DATABASE flotilla OWNER flotilla_owner TEMPLATE template0;
REVOKE ALL ON DATABASE flotilla FROM PUBLIC;
{{- range $service, $_ := fromYaml (include "flotilla.catalogue" .) }}
GRANT CONNECT ON DATABASE flotilla TO flotilla_{{ $service }};
{{- end }}
\connect flotilla
CREATE EXTENSION IF NOT EXISTS vector;
{{- range $service, $_ := fromYaml (include "flotilla.catalogue" .) }}
CREATE SCHEMA {{ $service }} AUTHORIZATION flotilla_owner;
{{- end }}
{{ end -}}

{{- define "flotilla.valkeyConf" -}}
bind 0.0.0.0
protected-mode no
dir /data
save ""
appendonly no
maxmemory-policy allkeys-lru
requirepass "{{ .Values.secrets.development.password }}"
{{ end -}}

{{- define "flotilla.store" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "flotilla.name" .root }}-{{ .service }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "flotilla.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "flotilla.selectorLabels" . | nindent 4 }}
  ports:
    - { name: {{ .service }}, port: {{ .port }}, targetPort: {{ .service }} }
{{- end -}}
