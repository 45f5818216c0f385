#!/usr/bin/env bash
# Measures Bonded and other registries side by side and prints a table (docs/performance.md).
#
#   scripts/bench.sh                        everything, beside distribution; about an hour
#   scripts/bench.sh --quick                small sizes, one round; a few minutes
#   scripts/bench.sh --rows PATTERN         only rows that match the regular expression
#   scripts/bench.sh --rounds N             rounds, in which the servers take turns
#   scripts/bench.sh --peer NAME=COMMAND    one more registry; {port} and {data} are replaced
#   scripts/bench.sh --database URL         ours on PostgreSQL
#   scripts/bench.sh --out FILE             all figures as JSON
#   scripts/bench.sh --help                 all options
#
# Builds Bonded and the load generator first. BONDED_BINARY names a server to measure instead.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
tools=$(scripts/tools.sh path)
target=${CARGO_TARGET_DIR:-$root/target}

for argument in "$@"; do
  case $argument in
    -h | --help) exec python3 scripts/bench --help ;;
  esac
done
if [[ " $* " != *" --no-distribution "* ]]; then
  scripts/tools.sh registry
fi
command -v strace >/dev/null || scripts/tools.sh strace
echo "building Bonded and what loads it"
cargo build --quiet --release --locked -p bonded-server --example load --example seed
if [ -z "${BONDED_BINARY:-}" ]; then
  cargo build --quiet --release --locked -p bonded-server --bin bonded
fi
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
exec python3 scripts/bench --bonded "${BONDED_BINARY:-$target/release/bonded}" \
  --load "$target/release/examples/load" --seed "$target/release/examples/seed" \
  --registry "$tools/bin/registry" "$@"
