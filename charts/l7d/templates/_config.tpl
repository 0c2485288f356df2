{{/*
The agent's configuration: `config`, and what follows from the pods' mounts and listeners.
*/}}
{{- define "l7d.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $datapath := default dict $config.datapath -}}
{{- range list "pinDir" "sysctlDir" -}}
{{- if hasKey $datapath . -}}
{{- fail (printf "config.datapath.%s is written by the chart: it follows from the mounts of the pod" .) -}}
{{- end -}}
{{- end -}}
{{- $metrics := default dict $config.metrics -}}
{{- range list "listen" "tls" "insecure" -}}
{{- if hasKey $metrics . -}}
{{- fail (printf "config.metrics.%s is written by the chart: use metrics.enabled, metrics.port and metrics.tls" .) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $datapath "pinDir" "/host/bpf/l7d" -}}
{{- $_ := set $datapath "sysctlDir" "/host/proc/sys/net" -}}
{{- $_ := set $config "datapath" $datapath -}}
{{- $_ := set $config "cluster" .Values.clusterName -}}
{{- $_ := set $config "runtimeDir" "/run/l7d" -}}
{{- $_ := set $config "stateDir" "/var/lib/l7d" -}}
{{- $listener := dict "listen" (printf "%s:%v" .Values.listenAddress .Values.agent.port) -}}
{{- if .Values.tls.enabled -}}
{{- $_ := set $listener "tls" (dict "certificate" "/etc/l7d-tls/tls.crt" "key" "/etc/l7d-tls/tls.key" "clientCa" "/etc/l7d-tls/ca.crt") -}}
{{- else -}}
{{- $_ := set $listener "insecure" true -}}
{{- end -}}
{{- $_ := set $config "api" (dict "socket" "/run/l7d/l7d.sock" "tcp" $listener) -}}
{{- if .Values.metrics.enabled -}}
{{- $_ := set $metrics "listen" (printf "%s:%v" .Values.listenAddress .Values.metrics.port) -}}
{{- if .Values.metrics.tls.enabled -}}
{{- if not .Values.tls.enabled -}}
{{- fail "metrics.tls.enabled takes the agents' certificate: set tls.enabled as well" -}}
{{- end -}}
{{- $tls := dict "certificate" "/etc/l7d-tls/tls.crt" "key" "/etc/l7d-tls/tls.key" -}}
{{- if .Values.metrics.tls.clientCertificates -}}
{{- $_ := set $tls "clientCa" "/etc/l7d-tls/ca.crt" -}}
{{- end -}}
{{- $_ := set $metrics "tls" $tls -}}
{{- else -}}
{{- $_ := set $metrics "insecure" true -}}
{{- end -}}
{{- end -}}
{{- $_ := set $config "metrics" $metrics -}}
{{- if (default dict $config.host).ports -}}
{{- if not $config.host.cgroup -}}
{{- $_ := set $config.host "cgroup" "/host/cgroup" -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* What of it an agent reads at its start only: the rest is left out. */}}
{{- define "l7d.config.atStart" -}}
{{- $config := include "l7d.config" . | fromYaml -}}
{{- $config = omit $config "endpoints" "namespaces" "services" "nodes" "exports" "visibility" -}}
{{- $live := dict "host" (list "ports") "datapath" (list "uplinks" "hostFirewall") "drops" (list "netfilterRules") "flows" (list "aggregation" "reportInterval") "policies" (list "enforcement" "audit" "newPods") -}}
{{- range $section, $keys := $live -}}
{{- $rest := default dict (index $config $section) -}}
{{- range $keys -}}{{- $rest = omit $rest . -}}{{- end -}}
{{- if $rest -}}{{- $_ := set $config $section $rest -}}{{- else -}}{{- $_ := unset $config $section -}}{{- end -}}
{{- end -}}
{{- $_ := set $config "metrics" (pick $config.metrics "listen" "tls" "insecure" "labels") -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Seconds that an agent may take to end: `proxy.drain` and the rest. */}}
{{- define "l7d.agent.grace" -}}
{{- $proxy := default dict .Values.config.proxy -}}
{{- add (trimSuffix "s" (default "5s" $proxy.drain) | int) .Values.agent.terminationGraceSeconds -}}
{{- end -}}

{{/* Whether status and Events of policies are written. */}}
{{- define "l7d.writesStatus" -}}
{{- $kubernetes := default dict .Values.config.kubernetes -}}
{{- if ne (toString $kubernetes.status) "false" -}}yes{{- end -}}
{{- end -}}
