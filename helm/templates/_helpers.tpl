{{- define "advisor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "advisor.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "advisor.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "advisor.selector" -}}
app.kubernetes.io/name: {{ include "advisor.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "advisor.labels" -}}
{{ include "advisor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "advisor.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "advisor.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "advisor.config" -}}
{{- if not (default dict .Values.config).targets -}}
{{- fail "config.targets is empty: name at least one target, as in docs/examples/advisor.yaml" -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.postgresql.url) -}}
{{- fail "replicas > 1 needs postgresql.url: SQLite's file has one advisor" -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (gt (int .Values.loadgen.workers) 0) -}}
{{- fail "loadgen.workers needs replicas: 1, because workers connect to the one advisor that runs a test" -}}
{{- end -}}
{{- if regexMatch "[?&]password=" .Values.postgresql.url -}}
{{- fail "postgresql.url holds a password: put it into a Secret, and name that in postgresql.passwordSecret" -}}
{{- end -}}
{{- range .Values.config.targets -}}
{{- if and (hasKey (default dict .observe) "kubernetes") (not (include "advisor.asksKubernetes" $)) -}}
{{- fail (printf "observe.kubernetes of target '%s' needs rbac.read: true, and rbac.namespaces where its pods are" .name) -}}
{{- end -}}
{{- end -}}
{{- if hasKey .Values.files "advisor.yaml" -}}
{{- fail "files holds advisor.yaml: write it under config" -}}
{{- end -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "store" (default "sqlite:////var/lib/advisor/advisor.db" .Values.postgresql.url) -}}
{{- $_ := set $config "api" (mergeOverwrite (deepCopy (default dict $config.api)) (dict "listen" "0.0.0.0:8000")) -}}
{{- if gt (int .Values.loadgen.workers) 0 -}}
{{- $loadgen := dict "workers" (int .Values.loadgen.workers) "bind" "0.0.0.0:5557" -}}
{{- $_ := set $config "loadgen" (mergeOverwrite (deepCopy (default dict $config.loadgen)) $loadgen) -}}
{{- end -}}
{{- if include "advisor.asksKubernetes" . -}}
{{- $_ := set $config "kubernetes" true -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "advisor.asksKubernetes" -}}
{{- if or .Values.rbac.read .Values.rbac.scale .Values.rbac.dryRun -}}true{{- end -}}
{{- end -}}

{{- /* Preferably each on a node of its own; called with (dict "root" $ "component" "advisor"). */ -}}
{{- define "advisor.apart" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "advisor.selector" .root | nindent 12 }}
            app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "advisor.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "advisor.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
