{{/* Each service's migrations, side by side, from that service's own image, as the owner of the schemas. */}}
{{- define "flotilla.migrationSpec" -}}
{{- $migration := .root.Values.migration -}}
backoffLimit: {{ $migration.backoffLimit }}
activeDeadlineSeconds: {{ $migration.activeDeadlineSeconds | int64 }}
template:
  metadata:
    {{- include "flotilla.podMetadata" . | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- include "flotilla.podBasics" . | nindent 4 }}
    {{- with include "flotilla.waitForDatabase" (dict "root" .root "service" "gateway" "color" .color "resources" $migration.resources) | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    containers:
      {{- range $service, $_ := fromYaml (include "flotilla.catalogue" .root) }}
      - name: {{ $service }}
        image: {{ include "flotilla.image" (dict "root" $.root "service" $service "color" $.color) }}
        imagePullPolicy: {{ $.root.Values.image.pullPolicy }}
        terminationMessagePolicy: FallbackToLogsOnError
        args: [flotilla_{{ $service }}.migrate]
        env:
          - { name: APP_ENV, value: {{ $.root.Values.appEnv }} }
          - { name: {{ upper $service }}_MIGRATION_DATABASE_URL_FILE, value: {{ include "flotilla.secretsDir" $ }}/owner-url }
        securityContext:
          {{- include "flotilla.containerSecurity" $ | nindent 10 }}
        resources:
          {{- toYaml $migration.resources | nindent 10 }}
        volumeMounts:
          - { name: tmp, mountPath: /tmp }
          - { name: secrets, mountPath: {{ include "flotilla.secretsDir" $ }}, readOnly: true }
          {{- with include "flotilla.caMount" $ | trim }}
          {{- . | nindent 10 }}
          {{- end }}
      {{- end }}
    volumes:
      {{- include "flotilla.tmpVolume" (dict) | nindent 6 }}
      - name: secrets
        secret:
          secretName: {{ include "flotilla.secretName" (dict "root" .root "kind" "migration") }}
          defaultMode: 0440
          items: [{ key: {{ .root.Values.secrets.migration.keys.url }}, path: owner-url }]
      {{- with include "flotilla.caVolume" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end -}}
