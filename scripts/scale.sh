#!/usr/bin/env bash
# Measures Bonded with a million tags in a repository, 100,000 images in a repository and 100,000
# repositories, and prints what each request takes then and with a thousand (docs/performance.md).
#
#   scripts/scale.sh                   on SQLite; some minutes
#   scripts/scale.sh --database URL    on PostgreSQL
#   scripts/scale.sh --quick           20,000 tags, 5,000 of the others
#   scripts/scale.sh --help            all options
#
# Builds Bonded and its tools first. BONDED_BINARY names a server to measure instead.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}

export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
for argument in "$@"; do
  case $argument in
    -h | --help) exec python3 scripts/bench/scale.py --help ;;
  esac
done
echo "building Bonded and what loads it"
cargo build --quiet --release --locked -p bonded-server --example load --example seed
if [ -z "${BONDED_BINARY:-}" ]; then
  cargo build --quiet --release --locked -p bonded-server --bin bonded
fi
exec python3 scripts/bench/scale.py --bonded "${BONDED_BINARY:-$target/release/bonded}" \
  --load "$target/release/examples/load" --seed "$target/release/examples/seed" "$@"
