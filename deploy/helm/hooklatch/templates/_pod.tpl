{{/* The pods of the Deployment and of the StatefulSet. */}}
{{- define "hooklatch.pod" -}}
{{- $gateway := include "hooklatch.gateway" . | fromYaml -}}
{{- $path := dig "store" "path" "" $gateway -}}
{{- $hasDatabase := and (dig "store" "postgres" "" $gateway) .Values.database.secret -}}
metadata:
  labels:
    {{- include "hooklatch.labels.with" (dict "root" . "key" "podLabels" "labels" .Values.podLabels) | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "hooklatch.fullname" . | quote }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    # This group can read the mounted secrets, and write to the volume.
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  # If a node or a zone fails, most pods keep running.
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "hooklatch.selector" $ | nindent 10 }}
    {{- end }}
  containers:
    - name: hooklatch
      image: {{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, -c, /etc/hooklatch/gateway.yaml]
      {{- with .Values.env }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - { name: http, containerPort: {{ include "hooklatch.port.http" . }} }
        - { name: admin, containerPort: {{ include "hooklatch.port.admin" . }} }
      readinessProbe:
        httpGet: { path: /readyz, port: admin }
        periodSeconds: 5
      livenessProbe:
        httpGet: { path: /livez, port: admin }
        periodSeconds: 10
        failureThreshold: 6
      lifecycle:
        preStop:
          # SIGTERM closes the listeners at once. Before that, every node needs time to learn that this pod ends.
          sleep: { seconds: 5 }
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        {{- if $hasDatabase }}
        - { name: database, mountPath: /run/secrets/hooklatch-db, readOnly: true }
        {{- end }}
        - { name: config, mountPath: /etc/hooklatch, readOnly: true }
        - { name: secrets, mountPath: /run/secrets/hooklatch, readOnly: true }
        {{- if $path }}
        - { name: store, mountPath: {{ $path | quote }} }
        {{- end }}
        {{- with .Values.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- if $hasDatabase }}
    - name: database
      secret:
        secretName: {{ .Values.database.secret | quote }}
        items: [{ key: {{ .Values.database.key | quote }}, path: url }]
        defaultMode: 288  # 0440
    {{- end }}
    - name: config
      configMap:
        name: {{ include "hooklatch.fullname" . }}-config
    - name: secrets
      secret:
        secretName: {{ .Values.secrets.name | quote }}
        defaultMode: 288  # 0440
    {{- with .Values.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
