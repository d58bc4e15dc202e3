{{/* Secrets of publicly known values, for development and tests only: kind → key → value. */}}
{{- define "flotilla.developmentSecrets" -}}
{{- $development := .Values.secrets.development }}
{{- $name := include "flotilla.name" . }}
{{- $postgres := include "flotilla.host" (dict "root" . "name" (printf "%s-postgres" $name)) }}
{{- $contents := dict }}
{{- if not .Values.secrets.identity.existingSecret }}
{{- $keys := .Values.secrets.identity.keys }}
{{- $pair := dict }}
{{- range $part, $pem := $development.identity }}
{{- $_ := set $pair (get $keys $part) ($pem | required (printf "secrets.development.identity.%s is not set" $part)) }}
{{- end }}
{{- $_ := set $contents "identity" $pair }}
{{- end }}
{{- if not .Values.secrets.gateway.existingSecret }}
{{- $keys := .Values.secrets.gateway.keys }}
{{- $pair := dict $keys.keyPepper ($development.keyPepper | required "secrets.development.keyPepper is not set") }}
{{- if $keys.adminKey }}
{{- $_ := set $pair $keys.adminKey ($development.adminKey | required "secrets.development.adminKey is not set") }}
{{- end }}
{{- $_ := set $contents "gateway" $pair }}
{{- end }}
{{- if .Values.postgres.enabled }}
{{- $password := $development.password | required "secrets.development.password is not set" }}
{{- if not .Values.secrets.database.existingSecret }}
{{- $urls := dict }}
{{- range $service, $key := .Values.secrets.database.keys }}
{{- $_ := set $urls $key (printf "postgresql://flotilla_%s:%s@%s:5432/flotilla" $service (urlquery $password) $postgres) }}
{{- end }}
{{- $_ := set $contents "database" $urls }}
{{- end }}
{{- if not .Values.secrets.migration.existingSecret }}
{{- $_ := set $contents "migration" (dict .Values.secrets.migration.keys.url (printf "postgresql://flotilla_owner:%s@%s:5432/flotilla" (urlquery $password) $postgres)) }}
{{- end }}
{{- $_ := set $contents "postgres" (dict "password" $password "flotilla.sql" (include "flotilla.provisionSql" .)) }}
{{- end }}
{{- if .Values.valkey.enabled }}
{{- $password := $development.password | required "secrets.development.password is not set" }}
{{- if not .Values.secrets.redis.existingSecret }}
{{- $host := include "flotilla.host" (dict "root" . "name" (printf "%s-valkey" $name)) }}
{{- $_ := set $contents "redis" (dict .Values.secrets.redis.keys.url (printf "redis://:%s@%s:6379/0" (urlquery $password) $host)) }}
{{- end }}
{{- $_ := set $contents "valkey" (dict "valkey.conf" (include "flotilla.valkeyConf" .)) }}
{{- end }}
{{- if and $development.modelApiKey (not .Values.secrets.model.existingSecret) }}
{{- $_ := set $contents "model" (dict (.Values.secrets.model.keys.apiKey | default "api-key") $development.modelApiKey) }}
{{- end }}
{{- toJson $contents }}
{{- end -}}
