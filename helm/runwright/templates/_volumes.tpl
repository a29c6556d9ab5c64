{{- define "runwright.volumes" -}}
- name: config
  # What the chart decides and what it is given, as one folder, which changes as one.
  projected:
    defaultMode: 0440
    sources:
      - configMap: { name: "{{ include "runwright.fullname" . }}-config" }
      {{- with .Values.existingConfigMap }}
      - configMap: { name: {{ . | quote }} }
      {{- end }}
      {{- with .Values.existingConfigSecret }}
      - secret: { name: {{ . | quote }} }
      {{- end }}
- name: tmp
  emptyDir: { sizeLimit: {{ .Values.tmpSizeLimit }} }
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "runwright.tlsSecret" . | quote }}
    defaultMode: 0440
    items:
      - { key: tls.crt, path: tls.crt }
      - { key: tls.key, path: tls.key }
{{- if .Values.tls.clientCA.enabled }}
- name: client-ca
  secret:
    secretName: {{ default (include "runwright.tlsSecret" .) .Values.tls.clientCA.existingSecret | quote }}
    defaultMode: 0440
    items:
      - { key: {{ .Values.tls.clientCA.key | quote }}, path: ca.crt }
{{- end }}
{{- end }}
{{- with .Values.digestKey }}
{{- if .existingSecret }}
- name: digest-key
  secret:
    secretName: {{ .existingSecret | quote }}
    defaultMode: 0440
    items:
      - { key: {{ .key | quote }}, path: digest-key }
{{- end }}
{{- end }}
{{- range $index, $_ := .Values.existingSecrets.files }}
# By number: names of Secrets may have dots, and more characters than those of volumes.
- name: secret-{{ $index }}
  secret:
    secretName: {{ .name | quote }}
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
{{- range $index, $_ := .Values.existingSecrets.files }}
- { name: secret-{{ $index }}, mountPath: {{ printf "/var/run/runwright/secrets/%s" .name | quote }}, readOnly: true }
{{- end }}
{{- if .Values.projectedTokens }}
- { name: tokens, mountPath: /var/run/runwright/tokens, readOnly: true }
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
