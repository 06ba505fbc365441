#!/bin/sh
# The namespace, with a retention of 30 days for finished deliveries, and our search attributes. An existing namespace
# stays as it is. TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE are the CLI's own variables.
set -eu

until temporal operator cluster health; do
  sleep 1
done
temporal operator namespace describe "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 \
  || temporal operator namespace create --retention 30d "$TEMPORAL_NAMESPACE"
