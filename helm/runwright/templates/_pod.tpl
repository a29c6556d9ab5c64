{{- define "runwright.podSpec" -}}
serviceAccountName: {{ include "runwright.serviceAccountName" . | quote }}
# The service never asks Kubernetes, and needs no list of the namespace's Services in its environment.
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "runwright.gracePeriod" . }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- if not (kindIs "invalid" .Values.hostUsers) }}
hostUsers: {{ .Values.hostUsers }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: runwright
    {{- include "runwright.container" . | nindent 4 }}
  {{- with .Values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
  {{- include "runwright.volumes" . | nindent 2 }}
{{- include "runwright.scheduling" . }}
{{- end }}

{{- define "runwright.container" -}}
image: {{ include "runwright.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve, --config, /etc/runwright]
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with .Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.secretEnv .Values.existingSecrets.env .Values.extraEnvFrom }}
envFrom:
  {{- if .Values.secretEnv }}
  - secretRef: { name: "{{ include "runwright.fullname" . }}-env" }
  {{- end }}
  {{- range .Values.existingSecrets.env }}
  - secretRef: { name: {{ . | quote }} }
  {{- end }}
  {{- with .Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
ports:
  - name: grpc
    containerPort: {{ .Values.containerPorts.grpc }}
    protocol: TCP
  - name: admin
    containerPort: {{ .Values.containerPorts.admin }}
    protocol: TCP
startupProbe:
  httpGet: { path: /livez, port: admin }
  {{- toYaml .Values.startupProbe | nindent 2 }}
livenessProbe:
  httpGet: { path: /livez, port: admin }
  {{- toYaml .Values.livenessProbe | nindent 2 }}
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  {{- toYaml .Values.readinessProbe | nindent 2 }}
{{- if .Values.preStopSleepSeconds }}
lifecycle:
  preStop:
    # Until endpoints and proxies know that the pod goes. Native, for the image has no shell.
    sleep: { seconds: {{ .Values.preStopSleepSeconds }} }
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  {{- include "runwright.volumeMounts" . | nindent 2 }}
{{- end }}

{{- define "runwright.scheduling" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $own := dict "labelSelector" (dict "matchLabels" (include "runwright.podSelector" $ | fromYaml)) "matchLabelKeys" (list "pod-template-hash") }}
  - {{- toYaml (ternary . (merge (deepCopy .) $own) (hasKey . "labelSelector")) | nindent 4 }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . | quote }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . | quote }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
