{{/* Names, labels and images. A scope is (dict "root" $ "service" <name> "color" <colour>). */}}

{{- define "flotilla.name" -}}
{{- $name := .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) -}}
{{- fail (printf "the release is named %s, which cannot begin a Service's name: choose lower-case letters, digits and -, a letter first, or set fullnameOverride" .Release.Name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* <release>-<service>-<colour> */}}
{{- define "flotilla.workloadName" -}}
{{- printf "%s-%s-%s" (include "flotilla.name" .root) .service .color -}}
{{- end -}}

{{- define "flotilla.host" -}}
{{- printf "%s.%s.svc.%s" .name .root.Release.Namespace .root.Values.clusterDomain -}}
{{- end -}}

{{/* What selects all pods of a component; it never changes in the life of a release. */}}
{{- define "flotilla.selectorLabels" -}}
app.kubernetes.io/name: flotilla
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- with .color }}
flotilla/color: {{ . }}
{{- end }}
{{- end -}}

{{- define "flotilla.labels" -}}
{{ include "flotilla.selectorLabels" . }}
app.kubernetes.io/part-of: flotilla
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The tag of a colour's images, which is also the version that its pods are labelled with. */}}
{{- define "flotilla.tag" -}}
{{- $colour := dict -}}
{{- with .color -}}{{- $colour = get $.root.Values.rollout.colors . -}}{{- end -}}
{{- $own := dig (.service | default "") "" .root.Values.image.tags -}}
{{- dig "image" "tag" "" $colour | default $own | default .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- end -}}

{{- define "flotilla.image" -}}
{{- $image := .root.Values.image -}}
{{- $colour := dict -}}
{{- with .color -}}{{- $colour = get $.root.Values.rollout.colors . -}}{{- end -}}
{{- $digest := dig "image" "digests" .service "" $colour | default (get $image.digests .service) -}}
{{- $name := printf "%s/%s" $image.repository .service -}}
{{- with $image.registry -}}{{- $name = printf "%s/%s" . $name -}}{{- end -}}
{{- if $digest -}}
{{- printf "%s@%s" $name $digest -}}
{{- else -}}
{{- printf "%s:%s" $name (include "flotilla.tag" .) -}}
{{- end -}}
{{- end -}}

{{- define "flotilla.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}
