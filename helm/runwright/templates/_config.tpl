{{/*
The seconds of a duration as the service writes them (src/config/units.rs): whole numbers with h, m, s and ms, each once, the
longest first; rounded up. Takes a list: the duration, and the value's name.
*/}}
{{- define "runwright.seconds" -}}
{{- $text := index . 0 | toString -}}
{{- if or (not $text) (not (regexMatch "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$" $text)) }}
{{- fail (printf "%s: %q is no duration such as 30s, 10m or 1h30m" (index . 1) $text) }}
{{- end }}
{{- $units := dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1 -}}
{{- $total := 0 -}}
{{- range regexFindAll "[0-9]+(h|ms|m|s)" $text -1 }}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $total = add $total (mul (regexFind "[0-9]+" . | int64) (get $units $unit)) -}}
{{- end -}}
{{- div (add $total 999) 1000 -}}
{{- end }}

{{/* Not empty if the configuration is not in `config`. */}}
{{- define "runwright.existingConfig" -}}
{{- .Values.existingConfigMap }}{{ .Values.existingConfigSecret -}}
{{- end }}

{{/* Not empty if the demonstration agent is served. */}}
{{- define "runwright.demo" -}}
{{- if not (or (include "runwright.existingConfig" .) .Values.config.agents) }}true{{ end -}}
{{- end }}

{{/* The files of the chart's ConfigMap. */}}
{{- define "runwright.configFileNames" -}}
- 00-chart.yaml
{{- if include "runwright.demo" . }}
- demo.yaml
{{- end }}
{{- if .Values.config }}
- runwright.yaml
{{- end }}
{{- range $name, $_ := .Values.configFiles }}
- {{ $name | quote }}
{{- end }}
{{- end }}

{{/* The longest time of a run, in seconds. */}}
{{- define "runwright.runSeconds" -}}
{{- $limits := .Values.config.limits | default dict -}}
{{- include "runwright.seconds" (list ($limits.run_timeout | default "10m") "config.limits.run_timeout") }}
{{- end }}

{{/* How long the service drains, in seconds. */}}
{{- define "runwright.drainSeconds" -}}
{{- $server := .Values.config.server | default dict -}}
{{- if .Values.drainTimeout }}
{{- include "runwright.seconds" (list .Values.drainTimeout "drainTimeout") }}
{{- else if $server.drain_timeout }}
{{- include "runwright.seconds" (list $server.drain_timeout "config.server.drain_timeout") }}
{{- else }}
{{- include "runwright.runSeconds" . }}
{{- end }}
{{- end }}

{{- define "runwright.gracePeriod" -}}
{{- $least := add .Values.preStopSleepSeconds (include "runwright.drainSeconds" . | int64) -}}
{{- $period := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $period }}
{{- add $least .Values.shutdownMarginSeconds }}
{{- else if lt (int64 $period) $least }}
{{- fail (printf "terminationGracePeriodSeconds: %d is below the sleep before the stop and the drain, which take %d: runs would be killed" (int64 $period) $least) }}
{{- else }}
{{- int64 $period }}
{{- end }}
{{- end }}

{{/* What of the configuration the chart itself decides. */}}
{{- define "runwright.ownConfig" -}}
# What the chart itself decides. The rest of the configuration stands beside it.
server:
  listen: {{ printf "%s:%d" .Values.listenHost (int64 .Values.containerPorts.grpc) | quote }}
  admin_listen: {{ printf "%s:%d" .Values.listenHost (int64 .Values.containerPorts.admin) | quote }}
  {{- with .Values.drainTimeout }}
  drain_timeout: {{ . }}
  {{- end }}
  {{- if .Values.tls.enabled }}
  tls:
    certificate: { file: /var/run/runwright/tls/tls.crt }
    key: { file: /var/run/runwright/tls/tls.key }
    {{- if .Values.tls.clientCA.enabled }}
    client_ca: { file: /var/run/runwright/client-ca/ca.crt }
    {{- end }}
  {{- end }}
  {{- if .Values.digestKey.existingSecret }}
  digest_key: { file: /var/run/runwright/digest-key/digest-key }
  {{- end }}
{{- end }}

{{/* What can't be had without new pods when it changes: all of it, or what the service does not take by itself. */}}
{{- define "runwright.configChecksum" -}}
{{- $config := deepCopy .Values.config -}}
{{- if eq .Values.configReload "hot" }}
{{- $server := omit ($config.server | default dict) "drain_timeout" -}}
{{- $limits := pick ($config.limits | default dict) "max_request_bytes" -}}
{{- $telemetry := $config.telemetry | default dict -}}
{{- if $telemetry.logs }}{{- $_ := set $telemetry "logs" (omit $telemetry.logs "filter") }}{{- end }}
{{- $config = dict "server" $server "limits" $limits "telemetry" $telemetry }}
{{- else }}
{{- $config = dict "config" $config "files" .Values.configFiles "demo" (include "runwright.demo" .) }}
{{- end }}
{{- printf "%s\n%s" (include "runwright.ownConfig" .) (toYaml $config) | sha256sum }}
{{- end }}

{{/*
Where the Secrets stand that are read at the start alone: those of variables, and that of the digests' key. Versions, for a
checksum of what they hold would help whoever guesses it. Empty without a cluster (`helm template`).
*/}}
{{- define "runwright.secretVersions" -}}
{{- range compact (append .Values.existingSecrets.env .Values.digestKey.existingSecret) }}
{{- with lookup "v1" "Secret" $.Release.Namespace . }}{{ .metadata.name }}={{ .metadata.resourceVersion }};{{ end }}
{{- end }}
{{- end }}

{{/*
The release's revision that last changed `secretEnv`, which the Secret bears and the pods repeat; for the same reason no checksum of
what is in it. Without a cluster it is this revision.
*/}}
{{- define "runwright.secretEnvRevision" -}}
{{- $live := lookup "v1" "Secret" .Release.Namespace (printf "%s-env" (include "runwright.fullname" .)) | default dict -}}
{{- $wanted := dict -}}
{{- range $name, $value := .Values.secretEnv }}{{ $_ := set $wanted $name ($value | b64enc) }}{{ end -}}
{{- $known := dig "metadata" "annotations" "runwright/revision" "" $live -}}
{{- if and $known (eq (toJson $wanted) (toJson ($live.data | default dict))) }}{{ $known }}{{ else }}{{ .Release.Revision }}{{ end -}}
{{- end }}
