{{/* One agent a node is enough, and two would tell everything twice: so the names are fixed. */}}
{{- define "sockspan.labels" -}}
app.kubernetes.io/name: sockspan
{{- end -}}

{{/* The settings file. */}}
{{- define "sockspan.settings" -}}
{{- $v := .Values -}}
{{- $otel := dict "OTEL_EXPORTER_OTLP_ENDPOINT" $v.otlp.endpoint "OTEL_TRACES_SAMPLER" $v.sampler -}}
{{- with $v.otlp.protocol }}{{ $_ := set $otel "OTEL_EXPORTER_OTLP_PROTOCOL" . }}{{ end -}}
{{- if ne (toString $v.samplerArg) "" }}{{ $_ := set $otel "OTEL_TRACES_SAMPLER_ARG" (toString $v.samplerArg) }}{{ end -}}
{{- range $name, $value := $v.otel }}{{ $_ := set $otel $name (toString $value) }}{{ end -}}
{{- $settings := dict
  "namespace-selector" $v.namespaceSelector
  "pod-selector" $v.podSelector
  "exclude-namespace" $v.excludeNamespaces
  "exclude-path" $v.excludePaths
  "exclude-user-agent" $v.excludeUserAgents
  "instrumented" $v.instrumented
  "correlation-header" $v.correlationHeaders
  "route" $v.routes
  "guess-routes" $v.guessRoutes
  "redact" $v.redact
  "query-string" $v.queryString
  "namespace-label" $v.namespaceLabels
  "namespace-annotation" $v.namespaceAnnotations
  "pod-label" $v.podLabels
  "pod-annotation" $v.podAnnotations
  "service-name-from-labels" $v.serviceNameFromLabels
  "evidence" $v.evidence
  "log" $v.log
  "ring-buffer" $v.ringBuffer
  "otel" $otel -}}
{{- toYaml (merge (deepCopy $v.settings) $settings) -}}
{{- end -}}

{{/* What the agents read at their start only. */}}
{{- define "sockspan.restart" -}}
{{- $v := .Values -}}
{{- list $v.ringBuffer $v.otlp $v.sampler $v.samplerArg $v.otel $v.settings | toJson | sha256sum -}}
{{- end -}}
