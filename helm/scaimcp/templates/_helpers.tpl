{{/* Names: at most 53 characters, which leaves room for the suffixes. */}}
{{- define "scaimcp.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "scaimcp.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "scaimcp.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "scaimcp.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Selector of one component: dict root, component. */}}
{{- define "scaimcp.selectorLabels" -}}
app.kubernetes.io/name: {{ include "scaimcp.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object: dict root, component. The chart's own win over commonLabels. */}}
{{- define "scaimcp.labels" -}}
{{- $own := include "scaimcp.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" (.root.Chart.AppVersion | toString) -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_")) -}}
{{- toYaml (merge $own .root.Values.commonLabels) -}}
{{- end -}}

{{/* Labels of a pod, without versions, so that a new chart version alone restarts nothing. */}}
{{- define "scaimcp.podLabels" -}}
{{- $own := include "scaimcp.selectorLabels" . | fromYaml -}}
{{- toYaml (merge $own .values.podLabels .root.Values.commonLabels) -}}
{{- end -}}

{{/* The one image of server, worker and migration. */}}
{{- define "scaimcp.image" -}}
{{- $image := .Values.image -}}
{{- $repository := required "image.repository is required: where the image was pushed, for example registry.example.com/team/scaimcp" $image.repository -}}
{{- printf "%s:%s" $repository ($image.tag | default .Chart.AppVersion) -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* An environment variable from a Secret that exists already: dict root, entry, path, env. */}}
{{- define "scaimcp.secretEnv" -}}
- name: {{ .env }}
  valueFrom:
    secretKeyRef:
      name: {{ .entry.existingSecret | default .root.Values.existingSecret | required (printf "existingSecret (or %s.existingSecret) is required: the name of the Secret that holds %s" .path .env) | quote }}
      key: {{ .entry.key | quote }}
{{- end -}}

{{/* Secrets of server and worker. An optional one that is not named is not referenced. */}}
{{- define "scaimcp.secretEnvs" -}}
{{- $secrets := .Values.secrets -}}
{{ include "scaimcp.secretEnv" (dict "root" . "entry" $secrets.databaseUrl "path" "secrets.databaseUrl" "env" "SCAIMCP_DATABASE_URL") }}
{{ include "scaimcp.secretEnv" (dict "root" . "entry" $secrets.redisUrl "path" "secrets.redisUrl" "env" "SCAIMCP_REDIS_URL") }}
{{ include "scaimcp.secretEnv" (dict "root" . "entry" $secrets.stateKeys "path" "secrets.stateKeys" "env" "SCAIMCP_STATE_KEYS") }}
{{- range $name, $entry := $secrets.optional }}
{{ include "scaimcp.secretEnv" (dict "root" $ "entry" $entry "path" (printf "secrets.optional.%s" $name) "env" $name) }}
{{- end }}
{{- end -}}

{{/* A value of `config` as text. Numbers from YAML are floats: 16777216 must not become 1.6777216e+07. */}}
{{- define "scaimcp.settingText" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if kindIs "float64" . -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* Seconds between the delete of a server pod and SIGKILL. */}}
{{- define "scaimcp.serverGraceSeconds" -}}
{{- $server := .Values.server -}}
{{- $needed := add (int $server.drainSeconds) (int $server.preStopSleepSeconds) -}}
{{- if kindIs "invalid" $server.terminationGracePeriodSeconds -}}
{{- add $needed 10 -}}
{{- else if le (int64 $server.terminationGracePeriodSeconds) $needed -}}
{{- fail (printf "server.terminationGracePeriodSeconds must be greater than server.drainSeconds + server.preStopSleepSeconds (%d)" $needed) -}}
{{- else -}}
{{- int64 $server.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{- define "scaimcp.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.podSecurityContext }}
{{- if not (kindIs "invalid" .runAsUser) }}
runAsUser: {{ int64 .runAsUser }}
{{- end }}
{{- if not (kindIs "invalid" .runAsGroup) }}
runAsGroup: {{ int64 .runAsGroup }}
{{- end }}
{{- if not (kindIs "invalid" .fsGroup) }}
fsGroup: {{ int64 .fsGroup }}
{{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "scaimcp.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What every pod has in common: dict root, values (the component's). */}}
{{- define "scaimcp.podCommon" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "scaimcp.podSecurityContext" .root | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: {{ .root.Values.tmpSizeLimit }}
  {{- with .values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* What every container has in common: dict root, values. */}}
{{- define "scaimcp.containerCommon" -}}
image: {{ include "scaimcp.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- include "scaimcp.containerSecurityContext" . | nindent 2 }}
{{- with .values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- with .values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Spread constraints, each with the component's selector unless it has its own: dict root, component, values. */}}
{{- define "scaimcp.topologySpread" -}}
{{- $selector := dict "matchLabels" (include "scaimcp.selectorLabels" . | fromYaml) -}}
{{- $constraints := list -}}
{{- range .values.topologySpreadConstraints -}}
{{- $constraint := deepCopy . -}}
{{- if not .labelSelector -}}
{{- $_ := set $constraint "labelSelector" $selector -}}
{{- end -}}
{{- $constraints = append $constraints $constraint -}}
{{- end -}}
{{- with $constraints -}}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* One HTTP probe. Its Host is the same in every cluster; Kubelet would send the pod's address. */}}
{{- define "scaimcp.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
  httpHeaders:
    - {name: Host, value: localhost}
{{ toYaml .timing }}
{{- end -}}

{{/* What the ConfigMap holds. Its checksum restarts the pods; the labels around it do not. */}}
{{- define "scaimcp.settings" -}}
{{- $publicUrl := required "publicUrl is required: the URL clients use, such as https://mcp.example.com" .Values.publicUrl -}}
SCAIMCP_PUBLIC_URL: {{ $publicUrl | quote }}
SCAIMCP_PLATFORM_URL: {{ .Values.platform.url | quote }}
SCAIMCP_LOG_LEVEL: {{ .Values.log.level | quote }}
SCAIMCP_LOG_FORMAT: {{ .Values.log.format | quote }}
SCAIMCP_SERVER_BIND: {{ printf "%s:8080" .Values.listenAddress | quote }}
SCAIMCP_METRICS_BIND: {{ printf "%s:%d" .Values.listenAddress (int .Values.metrics.port) | quote }}
SCAIMCP_SERVER_WORKERS: {{ int .Values.server.workers | quote }}
SCAIMCP_SERVER_DRAIN_SECONDS: {{ int .Values.server.drainSeconds | quote }}
{{- with .Values.server.allowedHosts }}
SCAIMCP_SERVER_ALLOWED_HOSTS: {{ concat (list (get (urlParse $publicUrl) "hostname") "localhost" "127.0.0.1") . | uniq | join "," | quote }}
{{- end }}
{{- with .Values.server.allowedOrigins }}
SCAIMCP_SERVER_ALLOWED_ORIGINS: {{ join "," . | quote }}
{{- end }}
{{- with .Values.server.trustedProxies }}
SCAIMCP_SERVER_TRUSTED_PROXIES: {{ join "," . | quote }}
{{- end }}
{{- range $name, $value := .Values.config }}
{{ $name }}: {{ include "scaimcp.settingText" $value | quote }}
{{- end }}
{{- end -}}
