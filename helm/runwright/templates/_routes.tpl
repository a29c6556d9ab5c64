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
