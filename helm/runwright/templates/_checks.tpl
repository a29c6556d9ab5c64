{{/* What the schema can't say: values that exclude each other, and values that need another. */}}
{{- define "runwright.checks" -}}
{{- $existing := include "runwright.existingConfig" . -}}
{{- $server := .Values.config.server | default dict -}}
{{- if and .Values.existingConfigMap .Values.existingConfigSecret }}
{{- fail "existingConfigMap, existingConfigSecret: only one of them" }}
{{- end }}
{{- if and $existing .Values.config }}
{{- fail "config: it is not read where there is an existingConfigMap or existingConfigSecret" }}
{{- end }}
{{- if and $existing .Values.configFiles }}
{{- fail "configFiles: put them into the existingConfigMap or existingConfigSecret" }}
{{- end }}
{{- if and $existing (not .Values.drainTimeout) }}
{{- fail "drainTimeout: with existingConfigMap or existingConfigSecret it must be set, for the chart can't read server.drain_timeout there" }}
{{- end }}
{{- if and $existing (eq .Values.configReload "rollout") }}
{{- fail "configReload: rollout is for `config`; a change of an existingConfigMap or existingConfigSecret comes without Helm, and no pod is replaced for it" }}
{{- end }}
{{- if and .Values.drainTimeout $server.drain_timeout }}
{{- fail "drainTimeout: config.server.drain_timeout is there as well; keep that one" }}
{{- end }}
{{- if and .Values.digestKey.existingSecret $server.digest_key }}
{{- fail "digestKey.existingSecret: config.server.digest_key is there as well; keep one" }}
{{- end }}
{{- if eq (int64 .Values.containerPorts.grpc) (int64 .Values.containerPorts.admin) }}
{{- fail "containerPorts.grpc, containerPorts.admin: they are the same port" }}
{{- end }}
{{- $names := list -}}
{{- range .Values.existingSecrets.files }}{{ $names = append $names .name }}{{ end }}
{{- if ne (len $names) (len (uniq $names)) }}
{{- fail "existingSecrets.files: a Secret is there twice; name all its keys in one" }}
{{- end }}
{{- include "runwright.tlsChecks" . }}
{{- include "runwright.scalingChecks" . }}
{{- include "runwright.routeChecks" . }}
{{- end }}

{{- define "runwright.tlsChecks" -}}
{{- $tls := .Values.tls -}}
{{- if $tls.enabled }}
{{- if and $tls.existingSecret $tls.certManager.enabled }}
{{- fail "tls.existingSecret, tls.certManager.enabled: only one of them" }}
{{- end }}
{{- if not (or $tls.existingSecret $tls.certManager.enabled) }}
{{- fail "tls.enabled: where is the certificate? Set tls.existingSecret or tls.certManager.enabled" }}
{{- end }}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuerRef.name) }}
{{- fail "tls.certManager.issuerRef: its name is missing" }}
{{- end }}
{{- if and $tls.certManager.enabled (not $tls.certManager.clusterNames) (not $tls.certManager.dnsNames) }}
{{- fail "tls.certManager.dnsNames: without tls.certManager.clusterNames at least one" }}
{{- end }}
{{- if and .Values.test.enabled $tls.clientCA.enabled (not (include "runwright.testSecret" .)) }}
{{- fail "test.clientCertificateSecret: with tls.clientCA.enabled the pod of `helm test` needs a certificate; or set test.enabled: false" }}
{{- end }}
{{- else if or $tls.existingSecret $tls.certManager.enabled $tls.clientCA.enabled }}
{{- fail "tls.enabled: it is false, so the other values of tls have no effect" }}
{{- end }}
{{- if and .Values.test.clientCertificateSecret (not (and $tls.enabled $tls.clientCA.enabled)) }}
{{- fail "test.clientCertificateSecret: nobody asks for a certificate without tls.enabled and tls.clientCA.enabled" }}
{{- end }}
{{- if and .Values.test.serverName (not $tls.enabled) }}
{{- fail "test.serverName: there is no certificate without tls.enabled" }}
{{- end }}
{{- end }}

{{- define "runwright.scalingChecks" -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- if and $budget.enabled (eq (kindIs "invalid" $budget.maxUnavailable) (kindIs "invalid" $budget.minAvailable)) }}
{{- fail "podDisruptionBudget: exactly one of maxUnavailable and minAvailable (set the other to null)" }}
{{- end }}
{{- with .Values.autoscaling }}
{{- if .enabled }}
{{- if not (or .targetCPUUtilizationPercentage .targetLiveRuns .metrics) }}
{{- fail "autoscaling: by what? Set targetCPUUtilizationPercentage, targetLiveRuns or metrics" }}
{{- end }}
{{- if lt (int64 .maxReplicas) (int64 .minReplicas) }}
{{- fail "autoscaling.maxReplicas: it is below minReplicas" }}
{{- end }}
{{- if and .targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" $.Values.resources)) }}
{{- fail "autoscaling.targetCPUUtilizationPercentage: it is a part of resources.requests.cpu, which is missing" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty if the budget forbids every eviction. Some want that, so it is told and not refused. */}}
{{- define "runwright.budgetBlocks" -}}
{{- $pods := ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled -}}
{{- with .Values.podDisruptionBudget -}}
{{- $least := .minAvailable -}}
{{- if not .enabled -}}
{{- else if kindIs "string" $least -}}
{{- if eq $least "100%" }}true{{ end -}}
{{- else if not (kindIs "invalid" $least) -}}
{{- if and (not (kindIs "invalid" $pods)) (gt (int64 $pods) 0) (ge (int64 $least) (int64 $pods)) }}true{{ end -}}
{{- else if has (toString .maxUnavailable) (list "0" "0%") }}true{{ end -}}
{{- end -}}
{{- end }}

{{- define "runwright.routeChecks" -}}
{{- with .Values.route }}
{{- if .enabled }}
{{- if not .parentRefs }}
{{- fail "route.parentRefs: which Gateway?" }}
{{- end }}
{{- if and .backendTLS.enabled (not $.Values.tls.enabled) }}
{{- fail "route.backendTLS.enabled: the pods speak no TLS without tls.enabled" }}
{{- end }}
{{- if and (eq .kind "HTTPRoute") (ne .timeoutPolicy "none") }}
{{- fail "route.timeoutPolicy: an HTTPRoute has timeouts of its own" }}
{{- end }}
{{- if eq .kind "TLSRoute" }}
{{- include "runwright.passthroughChecks" $ }}
{{- end }}
{{- $all := include "runwright.seconds" (list .timeouts.request "route.timeouts.request") | int64 }}
{{- $one := include "runwright.seconds" (list .timeouts.backendRequest "route.timeouts.backendRequest") | int64 }}
{{- if eq .timeoutPolicy "EnvoyGateway" }}
{{- include "runwright.streamIdleCheck" $ }}
{{- else if .timeouts.streamIdle }}
{{- fail "route.timeouts.streamIdle: it has no effect without a route.timeoutPolicy" }}
{{- end }}
{{- if ne .kind "HTTPRoute" }}
{{- if $one }}
{{- fail (printf "route.timeouts.backendRequest: a %s has none" .kind) }}
{{- end }}
{{- if and $all (eq .timeoutPolicy "none") }}
{{- fail (printf "route.timeouts.request: a %s has none; a GRPCRoute is given it by a route.timeoutPolicy" .kind) }}
{{- end }}
{{- end }}
{{- if and (gt $all 0) (gt $one $all) }}
{{- fail "route.timeouts.backendRequest: it is above route.timeouts.request" }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
{{- fail "ingress.hosts: at least one" }}
{{- end }}
{{- $outside := or .Values.route.enabled .Values.ingress.enabled (ne .Values.service.type "ClusterIP") }}
{{- with .Values.networkPolicy }}
{{- if and .enabled $outside (not .ingress.grpcFrom) (not .ingress.extra) }}
{{- fail "networkPolicy.ingress.grpcFrom: from where do a route, an Ingress or a Service of another type than ClusterIP call? Empty, it lets in the namespace's own pods alone, as does [{ podSelector: {} }]" }}
{{- end }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) }}
{{- fail "metrics.serviceMonitor.enabled: it needs metrics.service.enabled" }}
{{- end }}
{{- end }}
