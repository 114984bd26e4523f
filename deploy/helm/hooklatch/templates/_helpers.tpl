{{/* The name of the release's objects: the release's, and the chart's unless that is in it already. */}}
{{- define "hooklatch.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- end -}}
{{- $name = $name | trunc 52 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "%s cannot be the name of a Service: set fullnameOverride to lower-case letters, digits and hyphens that start with a letter" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* By which the pods are found. */}}
{{- define "hooklatch.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "hooklatch.labels" -}}
{{ include "hooklatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The chart's labels and those of a value, which may replace none: `key` names the value. */}}
{{- define "hooklatch.labels.with" -}}
{{- $own := include "hooklatch.labels" .root -}}
{{- range $label, $_ := .labels -}}
{{- if hasKey (fromYaml $own) $label -}}
{{- fail (printf "%s has %s, which the chart sets itself" $.key $label) -}}
{{- end -}}
{{- end -}}
{{- $own -}}
{{- with .labels }}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{/* The pods of the handlers. Without a label it would be all pods. */}}
{{- define "hooklatch.handlers" -}}
{{- .Values.networkPolicy.handlerLabels | default (dict "app.kubernetes.io/component" "webhook-handler") | toYaml -}}
{{- end -}}

{{/* The pods of the database: those of deploy/kubernetes-cluster unless others are given. */}}
{{- define "hooklatch.database" -}}
{{- .Values.database.podLabels | default (dict "cnpg.io/cluster" "hooklatch-db") | toYaml -}}
{{- end -}}

{{/* The gateway.yaml, read. */}}
{{- define "hooklatch.gateway" -}}
{{- $read := fromYaml .Values.gateway -}}
{{- if hasKey $read "Error" -}}
{{- fail (printf "gateway is no gateway.yaml: %s" $read.Error) -}}
{{- end -}}
{{- if not $read.routes -}}
{{- fail "gateway has no routes: give the whole gateway.yaml as text, such as --set-file gateway=gateway.yaml" -}}
{{- end -}}
{{/* A section without content is as good as none. */}}
{{- range list "server" "admin" "store" -}}
{{- if not (get $read .) -}}
{{- $_ := unset $read . -}}
{{- end -}}
{{- end -}}
{{- $path := dig "store" "path" "" $read -}}
{{- if and $path (not (hasPrefix "/" $path)) -}}
{{- fail (printf "store.path in gateway is %s, below the folder of gateway.yaml, where a pod cannot write: make it absolute, such as /var/lib/hooklatch" $path) -}}
{{- end -}}
{{- toYaml $read -}}
{{- end -}}

{{/* The port of an address, or of the first one of a list. */}}
{{- define "hooklatch.port" -}}
{{- $address := .address -}}
{{- if kindIs "slice" $address -}}
{{- $address = first $address -}}
{{- end -}}
{{- $port := regexFind "[0-9]+$" (toString $address) -}}
{{- if not $port -}}
{{- fail (printf "%s in gateway is no address with a port" .key) -}}
{{- end -}}
{{- $port -}}
{{- end -}}

{{- define "hooklatch.port.http" -}}
{{- $gateway := include "hooklatch.gateway" . | fromYaml -}}
{{- include "hooklatch.port" (dict "key" "server.listen" "address" (dig "server" "listen" "0.0.0.0:8080" $gateway)) -}}
{{- end -}}

{{/* Probes and Prometheus come from outside of the pod. */}}
{{- define "hooklatch.port.admin" -}}
{{- $gateway := include "hooklatch.gateway" . | fromYaml -}}
{{- $address := dig "admin" "listen" "127.0.0.1:9797" $gateway | toString -}}
{{- if or (hasPrefix "127." $address) (hasPrefix "[::1]" $address) -}}
{{- fail (printf "admin.listen in gateway is %s, which probes and Prometheus cannot reach: make it 0.0.0.0:9797" $address) -}}
{{- end -}}
{{- include "hooklatch.port" (dict "key" "admin.listen" "address" $address) -}}
{{- end -}}
