{{/* The name of a Secret's volume, which has no dots and at most 63 characters. */}}
{{- define "runwright.volumeName" -}}
{{- printf "secret-%s" (. | replace "." "-") | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "runwright.volumes" -}}
- name: config
  # What the chart decides and what it is given, as one folder, which changes as one.
  projected:
    defaultMode: 0440
    sources:
      - configMap: { name: {{ include "runwright.fullname" . }}-config }
      {{- with .Values.existingConfigMap }}
      - configMap: { name: {{ . }} }
      {{- end }}
      {{- with .Values.existingConfigSecret }}
      - secret: { name: {{ . }} }
      {{- end }}
- name: tmp
  emptyDir: { sizeLimit: {{ .Values.tmpSizeLimit }} }
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "runwright.tlsSecret" . }}
    defaultMode: 0440
    items:
      - { key: tls.crt, path: tls.crt }
      - { key: tls.key, path: tls.key }
{{- if .Values.tls.clientCA.enabled }}
- name: client-ca
  secret:
    secretName: {{ default (include "runwright.tlsSecret" .) .Values.tls.clientCA.existingSecret }}
    defaultMode: 0440
    items:
      - { key: {{ .Values.tls.clientCA.key }}, path: ca.crt }
{{- end }}
{{- end }}
{{- with .Values.digestKey }}
{{- if .existingSecret }}
- name: digest-key
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items:
      - { key: {{ .key }}, path: digest-key }
{{- end }}
{{- end }}
{{- range .Values.existingSecrets.files }}
- name: {{ include "runwright.volumeName" .name }}
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    {{- with omit . "name" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- with .Values.projectedTokens }}
- name: tokens
  projected:
    defaultMode: 0440
    sources:
      {{- range . }}
      - serviceAccountToken: {{- toYaml . | nindent 10 }}
      {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "runwright.volumeMounts" -}}
{{- if eq .Values.configReload "rollout" }}
# File by file, for Kubernetes never changes such mounts: the configuration of pods that run stays as it is.
{{- range include "runwright.configFileNames" . | fromYamlArray }}
- { name: config, mountPath: {{ printf "/etc/runwright/%s" . | quote }}, subPath: {{ . | quote }}, readOnly: true }
{{- end }}
{{- else }}
- { name: config, mountPath: /etc/runwright, readOnly: true }
{{- end }}
- { name: tmp, mountPath: /tmp }
{{- if .Values.tls.enabled }}
- { name: tls, mountPath: /var/run/runwright/tls, readOnly: true }
{{- if .Values.tls.clientCA.enabled }}
- { name: client-ca, mountPath: /var/run/runwright/client-ca, readOnly: true }
{{- end }}
{{- end }}
{{- if .Values.digestKey.existingSecret }}
- { name: digest-key, mountPath: /var/run/runwright/digest-key, readOnly: true }
{{- end }}
{{- range .Values.existingSecrets.files }}
- { name: {{ include "runwright.volumeName" .name }}, mountPath: /var/run/runwright/secrets/{{ .name }}, readOnly: true }
{{- end }}
{{- if .Values.projectedTokens }}
- { name: tokens, mountPath: /var/run/runwright/tokens, readOnly: true }
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
