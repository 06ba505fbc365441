#!/bin/sh
# Temporal's two databases, made or brought to the newest schema; may be run again, and must be before each upgrade of
# the server. SQL_HOST, SQL_PORT, SQL_USER and SQL_PASSWORD are temporal-sql-tool's own variables.
set -eu

for name in temporal visibility; do
  database=temporal
  [ "$name" = visibility ] && database=temporal_visibility
  tool="temporal-sql-tool --plugin postgres12_pgx --db $database"
  $tool create
  $tool setup-schema -v 0.0
  $tool update-schema --schema-name "postgresql/v12/$name"
done
