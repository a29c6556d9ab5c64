{{/*
What gateways and meshes are to speak to the pods. `kubernetes.io/h2c` is Kubernetes' own name for HTTP/2 without TLS, which
implementations of Gateway API read; `grpc` is a convention of some meshes, which others take for plain HTTP/1.1.
*/}}
{{- define "runwright.appProtocol" -}}
{{- default (ternary "https" "kubernetes.io/h2c" .Values.tls.enabled) .Values.service.appProtocol }}
{{- end }}

{{/* The gRPC services that are routed. */}}
{{- define "runwright.routedServices" -}}
{{- $services := .Values.route.services -}}
{{- if .Values.route.reflection }}
{{- $services = concat $services (list "grpc.reflection.v1.ServerReflection" "grpc.reflection.v1alpha.ServerReflection") }}
{{- end }}
{{- toYaml $services }}
{{- end }}

{{- define "runwright.routeMatches" -}}
{{- $kind := .Values.route.kind -}}
{{- range include "runwright.routedServices" . | fromYamlArray }}
{{- if eq $kind "GRPCRoute" }}
- method: { type: Exact, service: {{ . | quote }} }
{{- else }}
- path: { type: PathPrefix, value: "/{{ . }}" }
{{- end }}
{{- end }}
{{- end }}

{{/*
How long a stream may be silent. A streamed run has heartbeats, but one that is asked for its result alone is silent to its end, so
this is above the longest run.
*/}}
{{- define "runwright.streamIdle" -}}
{{- $minutes := div (add 119 (include "runwright.runSeconds" . | int64)) 60 -}}
{{- default (printf "%dh%dm" (div $minutes 60) (mod $minutes 60)) .Values.route.timeouts.streamIdle }}
{{- end }}

{{/* A TLSRoute sees names alone: nothing of what the others do with calls. */}}
{{- define "runwright.passthroughChecks" -}}
{{- $route := .Values.route -}}
{{- if not .Values.tls.enabled }}
{{- fail "route.kind: a TLSRoute hands TLS to the pods, which speak none without tls.enabled" }}
{{- end }}
{{- if not $route.hostnames }}
{{- fail "route.hostnames: a TLSRoute tells services apart by them" }}
{{- end }}
{{- $none := dict "filters" $route.filters "reflection" $route.reflection "backendTLS.enabled" $route.backendTLS.enabled "timeoutPolicy" (ne $route.timeoutPolicy "none") }}
{{- range $key, $value := $none }}
{{- if $value }}
{{- fail (printf "route.%s: a TLSRoute can't read calls, so it has no effect" $key) }}
{{- end }}
{{- end }}
{{- if .Values.tls.certManager.enabled }}
{{- $certified := .Values.tls.certManager.dnsNames -}}
{{- range $route.hostnames }}
{{- if not (or (has . $certified) (has (regexReplaceAll "^[^.]+" . "*") $certified)) }}
{{- fail (printf "route.hostnames: %s is not in tls.certManager.dnsNames, so callers would refuse the certificate" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "runwright.streamIdleCheck" -}}
{{- $idle := .Values.route.timeouts.streamIdle -}}
{{- if include "runwright.existingConfig" . }}
{{- if not $idle }}
{{- fail "route.timeouts.streamIdle: with existingConfigMap or existingConfigSecret it must be set, above limits.run_timeout there, which the chart can't read" }}
{{- end }}
{{- else if $idle }}
{{- $seconds := include "runwright.seconds" (list $idle "route.timeouts.streamIdle") | int64 -}}
{{- $run := include "runwright.runSeconds" . | int64 -}}
{{- if and (gt $seconds 0) (le $seconds $run) }}
{{- fail (printf "route.timeouts.streamIdle: a run may take %d s (config.limits.run_timeout), and is silent if it is not streamed: it would be cut off" $run) }}
{{- end }}
{{- end }}
{{- end }}
