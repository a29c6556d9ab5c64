{{/* What all certificates that cert-manager makes have in common. */}}
{{- define "runwright.certificate" -}}
{{- with .Values.tls.certManager -}}
issuerRef:
  {{- toYaml .issuerRef | nindent 2 }}
duration: {{ .duration }}
renewBefore: {{ .renewBefore }}
privateKey:
  {{- toYaml .privateKey | nindent 2 }}
{{- end }}
{{- end }}
