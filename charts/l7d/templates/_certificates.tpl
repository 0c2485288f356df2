{{/* Secrets with certificates: (list $ "agent"), of agent, relayClient, relayServer, client. */}}
{{- define "l7d.tls.secret" -}}
{{- $root := index . 0 -}}
{{- $which := index . 1 -}}
{{- $given := index $root.Values.tls.secrets $which -}}
{{- if $given -}}
{{- $given -}}
{{- else if eq $root.Values.tls.provider "secrets" -}}
{{- fail (printf "tls.provider is secrets: name the one of tls.secrets.%s" $which) -}}
{{- else -}}
{{- printf "%s-%s-tls" (include "l7d.fullname" $root) (kebabcase $which) -}}
{{- end -}}
{{- end -}}

{{/*
Names that certificates are for, as a list. An agent is asked for NODE.CLUSTER.hubble-grpc.cilium.io, with
dashes in the place of dots; the relay by its service, by what stock clients say, or through a port-forward.
*/}}
{{- define "l7d.tls.names" -}}
{{- $root := index . 0 -}}
{{- $which := index . 1 -}}
{{- $relay := include "l7d.relay.name" $root -}}
{{- if eq $which "agent" -}}
- {{ printf "*.%s.hubble-grpc.cilium.io" ($root.Values.clusterName | replace "." "-") | quote }}
{{- else if eq $which "relayClient" -}}
- "relay-client.hubble-relay.cilium.io"
{{- else if eq $which "relayServer" -}}
- "*.hubble-relay.cilium.io"
- {{ $relay }}
- {{ $relay }}.{{ $root.Release.Namespace }}
- {{ $relay }}.{{ $root.Release.Namespace }}.svc
- {{ $relay }}.{{ $root.Release.Namespace }}.svc.cluster.local
- localhost
{{- else -}}
- "client.hubble-relay.cilium.io"
{{- end -}}
{{- end -}}

{{/* Which certificates there are. */}}
{{- define "l7d.tls.wanted" -}}
- agent
{{- if .Values.relay.enabled }}
- relayClient
- relayServer
{{- end }}
{{- if or .Values.tls.clientCertificates .Values.metrics.tls.clientCertificates .Values.hubbleUi.enabled }}
- client
{{- end }}
{{- end -}}

{{/*
A Secret with a certificate of the authority: (dict "root" $ "which" "agent" "authority" CERT "isKept" BOOL). One
that is there stays, unless its authority is gone, it is for other names, or its time has come.
*/}}
{{- define "l7d.tls.generated" -}}
{{- $root := .root -}}
{{- $tls := $root.Values.tls -}}
{{- $name := include "l7d.tls.secret" (list $root .which) -}}
{{- $names := include "l7d.tls.names" (list $root .which) | fromYamlArray -}}
{{- $now := now | unixEpoch | int64 -}}
{{- $former := lookup "v1" "Secret" $root.Release.Namespace $name -}}
{{- $told := default dict (default dict (default dict $former).metadata).annotations -}}
{{- $isFor := eq (join " " $names) (default "" (index $told "l7d.io/names")) -}}
{{- $isYoung := lt $now (int64 (default "0" (index $told "l7d.io/renew-after"))) -}}
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "l7d.labels" (list $root "certificates") | nindent 4 }}
  annotations:
    {{- with $root.Values.commonAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    l7d.io/names: {{ join " " $names | quote }}
{{- if and .isKept $isFor $isYoung }}
    l7d.io/renew-after: {{ index $told "l7d.io/renew-after" | quote }}
data:
  ca.crt: {{ index $former.data "ca.crt" }}
  tls.crt: {{ index $former.data "tls.crt" }}
  tls.key: {{ index $former.data "tls.key" }}
{{- else }}
{{- $made := genSignedCert (first $names) (ternary (list "127.0.0.1") list (eq .which "relayServer")) $names (int $tls.days) .authority }}
    l7d.io/renew-after: {{ add $now (mul 86400 (sub (int64 $tls.days) (int64 $tls.renewBeforeDays))) | quote }}
data:
  ca.crt: {{ .authority.Cert | b64enc }}
  tls.crt: {{ $made.Cert | b64enc }}
  tls.key: {{ $made.Key | b64enc }}
{{- end }}
{{- end -}}
