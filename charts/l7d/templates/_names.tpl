{{/* Names, labels, images. */}}

{{- define "l7d.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains "l7d" .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-l7d" .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "l7d.agent.name" -}}{{ include "l7d.fullname" . }}-agent{{- end -}}
{{- define "l7d.relay.name" -}}{{ include "l7d.fullname" . }}-relay{{- end -}}
{{- define "l7d.ui.name" -}}{{ include "l7d.fullname" . }}-hubble-ui{{- end -}}

{{- define "l7d.agent.account" -}}
{{- $account := .Values.agent.serviceAccount -}}
{{- if $account.create -}}{{ default (include "l7d.agent.name" .) $account.name }}{{- else -}}{{ default "default" $account.name }}{{- end -}}
{{- end -}}

{{- define "l7d.relay.account" -}}
{{- $account := .Values.relay.serviceAccount -}}
{{- if $account.create -}}{{ default (include "l7d.relay.name" .) $account.name }}{{- else -}}{{ default "default" $account.name }}{{- end -}}
{{- end -}}

{{/* What selects pods of a component: (list $ "agent"). Never changes: selectors cannot. */}}
{{- define "l7d.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: l7d
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of its pods: nothing that changes with a version, or every upgrade would start all of them anew. */}}
{{- define "l7d.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "l7d.selector" . }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of an object of a component: (list $ "agent"). */}}
{{- define "l7d.labels" -}}
{{- $root := index . 0 -}}
{{ include "l7d.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Name, namespace, labels and annotations of an object: (list $ "agent" NAME). */}}
{{- define "l7d.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 2 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "l7d.labels" . | nindent 2 }}
{{- with $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The same for what is in no namespace; its name has the namespace in it, for releases of one name. */}}
{{- define "l7d.clusterMetadata" -}}
{{- $root := index . 0 -}}
name: {{ printf "%s:%s" $root.Release.Namespace (index . 2) }}
labels:
  {{- include "l7d.labels" . | nindent 2 }}
{{- with $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* (list IMAGE DEFAULT-TAG) */}}
{{- define "l7d.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (index . 1) $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What a container that needs nothing may do. */}}
{{- define "l7d.unprivileged" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Where a pod without a PodMonitor is scraped: (list $ PORT SCHEME). */}}
{{- define "l7d.scrape" -}}
{{- $root := index . 0 -}}
{{- if and $root.Values.metrics.enabled $root.Values.metrics.annotations (not $root.Values.metrics.podMonitor.enabled) -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ index . 1 | quote }}
prometheus.io/scheme: {{ index . 2 }}
{{- end -}}
{{- end -}}
