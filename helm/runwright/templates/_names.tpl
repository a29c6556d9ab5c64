{{- define "runwright.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 50 characters: the longest of the endings that stand behind it has 13. */}}
{{- define "runwright.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := include "runwright.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "runwright.selectorLabels" -}}
app.kubernetes.io/name: {{ include "runwright.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The labels of the service's own pods, and of no other: those of `helm test` have another component. */}}
{{- define "runwright.podSelector" -}}
{{ include "runwright.selectorLabels" . }}
app.kubernetes.io/component: service
{{- end }}

{{- define "runwright.labels" -}}
{{ include "runwright.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: runwright
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
The metadata of an object. Takes a list: the root, the name's ending, the component, labels and annotations of its own.
*/}}
{{- define "runwright.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := dict -}}
{{- $labels = merge $labels (include "runwright.labels" $root | fromYaml) -}}
{{- if index . 2 }}{{- $labels = merge (dict "app.kubernetes.io/component" (index . 2)) $labels }}{{- end -}}
{{- $labels = merge (deepCopy (index . 3)) $labels -}}
name: "{{ include "runwright.fullname" $root }}{{ index . 1 }}"
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with merge (deepCopy (index . 4)) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "runwright.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "runwright.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "runwright.image" -}}
{{- $image := .Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if or $image.tag (not $image.digest) }}:{{ default .Chart.AppVersion $image.tag }}{{ end }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* The Service's name in the cluster. */}}
{{- define "runwright.host" -}}
{{ include "runwright.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{/* The Secret that has the server's certificate. */}}
{{- define "runwright.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}{{ include "runwright.fullname" . }}-tls{{ else }}{{ .Values.tls.existingSecret }}{{ end }}
{{- end }}

{{/* A name that the server's certificate is for: the Service's, unless cert-manager was told to leave it out. */}}
{{- define "runwright.certifiedName" -}}
{{- $manager := .Values.tls.certManager -}}
{{- if or (not $manager.enabled) $manager.clusterNames }}{{ include "runwright.host" . }}{{ else }}{{ first $manager.dnsNames }}{{ end }}
{{- end }}

{{/* The name by which `helm test` and the notes check the server's certificate. */}}
{{- define "runwright.testServerName" -}}
{{- default (include "runwright.certifiedName" .) .Values.test.serverName }}
{{- end }}

{{/* The Secret that has the certificate which `helm test` shows; empty if it needs none, or has none. */}}
{{- define "runwright.testSecret" -}}
{{- if .Values.test.clientCertificateSecret }}
{{- .Values.test.clientCertificateSecret }}
{{- else if and .Values.test.enabled .Values.tls.enabled .Values.tls.clientCA.enabled .Values.tls.certManager.enabled .Values.tls.certManager.clusterNames }}
{{- include "runwright.fullname" . }}-test-tls
{{- end }}
{{- end }}
