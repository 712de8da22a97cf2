{{/* The name of everything: the release's, with the chart's in it. */}}
{{- define "registry.name" -}}
{{- $name := printf "%s-%s" .Release.Name .Chart.Name -}}
{{- ternary .Release.Name $name (contains .Chart.Name .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* What chooses the registry's own pods. */}}
{{- define "registry.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: registry
{{- end }}

{{- define "registry.labels" -}}
{{ include "registry.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "registry.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "registry.scheme" -}}
{{ ternary "https" "http" (not (empty .Values.tls.secret)) }}
{{- end }}

{{/* No privileges at all. */}}
{{- define "registry.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "registry.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "registry.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
  scheme: {{ include "registry.scheme" .root | upper }}
{{- end }}

{{/* Stops at what the registry, or the operator, would find out too late. */}}
{{- define "registry.check" -}}
{{- if not .Values.store.existingSecret }}
{{- if not .Values.store.url }}
{{- fail "replicas need a store: set store.url, such as etcd://etcd:2379, or store.existingSecret" }}
{{- end }}
{{- if regexMatch "^(memory|sqlite):" .Values.store.url }}
{{- fail "replicas can't share this store, and it would be lost with its pod: set store.url to an etcd, postgresql, redis, zookeeper or consul URL" }}
{{- end }}
{{- end }}
{{- if and .Values.dns.enabled .Values.auth.enabled (not (has "read" .Values.auth.anonymous)) }}
{{- fail "DNS has no tokens: add read to auth.anonymous, or leave out dns.enabled" }}
{{- end }}
{{- if and (not .Values.auth.enabled) (or .Values.auth.anonymous .Values.auth.tokensSecret) }}
{{- fail "auth.anonymous and auth.tokensSecret have no effect without auth.enabled" }}
{{- end }}
{{- end }}
