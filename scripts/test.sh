#!/usr/bin/env bash
# All tests, the same here and in CI. Installs what is missing first (scripts/tools.sh).
#
#   scripts/test.sh         everything
#   scripts/test.sh quick   stops after the Rust part
#   scripts/test.sh long    many more rounds of the tests of failures and of load, more cases of
#                           the property tests, the clients on PostgreSQL too, and ten minutes of
#                           each fuzz target where there is a nightly compiler; some hours
#
# Wants root on Debian 12 with Rust and a C compiler. What it starts, it ends. Its last line
# says how many tests passed and failed; a program that is missing is a failure, never a skip.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
mode=${1:-all}
case $mode in
  all | quick | long) ;;
  *)
    echo "usage: scripts/test.sh [quick|long]" >&2
    exit 2
    ;;
esac

tools=$(scripts/tools.sh path)
work=$(mktemp -d "${TMPDIR:-/tmp}/bonded-test.XXXXXX")
chmod 755 "$work" # PostgreSQL runs as a user of its own and must get through
passed=0
failed=0
failures=()
children=()

[ "${CI:-}" = true ] && export CARGO_INCREMENTAL=0
[ "$mode" = long ] && export PROPTEST_CASES=${PROPTEST_CASES:-4096} BONDED_LONG=1
export PYTHONDONTWRITEBYTECODE=1

finish() {
  local code=$? pid
  trap - EXIT INT TERM
  for pid in "${children[@]}"; do
    # Each was started as the leader of a group of its own.
    kill -TERM -- "-$pid" 2>/dev/null || true
  done
  for pid in "${children[@]}"; do
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
  if [ ${#failures[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failures[@]}"
    code=1
  elif [ "$code" -ne 0 ]; then
    # Something ended the script itself: that is a failure, whatever was counted.
    failed=$((failed + 1))
  fi
  echo "$passed passed, $failed failed"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

now() { printf '%3d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }
say() { printf '[%s] %s\n' "$(now)" "$*"; }

# Starts a command in the background, in a group of its own, with its output in a file.
background() {
  local log=$1
  shift
  setsid "$@" >"$work/$log.log" 2>&1 </dev/null &
  children+=($!)
}

# Runs a step with the name `$1`. What fails is noted, and the other steps still run.
step() {
  local name=$1 start=$SECONDS log code=0 before=$failed
  shift
  log="$work/step.log"
  say "$name"
  "$@" 2>&1 | tee "$log" || code=$?
  count "$log"
  if [ $code -ne 0 ]; then
    failures+=("$name")
    # A step that ended badly without a failed test counts as one.
    [ "$failed" -gt "$before" ] || failed=$((failed + 1))
  fi
  say "$name: $([ $code -eq 0 ] && echo done || echo FAILED) in $((SECONDS - start)) s"
  return 0
}

# Adds what the closing lines of cargo's tests and of pytest say.
count() {
  local more_passed more_failed
  read -r more_passed more_failed < <(sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
    /^test result: / || /^(=+ )?[0-9]+ (passed|failed|errors?).* in [0-9.]+s/ {
      for (i = 1; i < NF; i++) {
        if ($(i + 1) ~ /^passed/) passed += $i
        if ($(i + 1) ~ /^(failed|errors?)/) failed += $i
      }
    }
    END { print passed + 0, failed + 0 }')
  passed=$((passed + more_passed))
  failed=$((failed + more_failed))
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits until something listens on a port; ends the script if its program has ended.
listening() {
  local port=$1 pid=$2 log=$3 tries=0
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    tries=$((tries + 1))
    if ! kill -0 "$pid" 2>/dev/null || [ $tries -gt 600 ]; then
      cat "$work/$log.log" >&2
      say "$log does not listen"
      exit 1
    fi
    sleep 0.1
  done
}

# A PostgreSQL of our own with the collation C, in a temporary directory.
start_postgres() {
  local bin port
  bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
  port=$(free_port)
  install -d -o postgres -m 700 "$work/postgres"
  (cd "$work/postgres" && setpriv --reuid=postgres --regid=postgres --init-groups \
    "$bin/initdb" -D "$work/postgres/data" --locale=C --encoding=UTF8 --auth=trust >/dev/null)
  # A certificate that is its own authority.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -subj /CN=postgres -addext subjectAltName=IP:127.0.0.1 \
    -addext basicConstraints=critical,CA:FALSE \
    -keyout "$work/postgres/key.pem" -out "$work/postgres/certificate.pem" 2>/dev/null
  chown postgres "$work/postgres/key.pem" "$work/postgres/certificate.pem"
  # Its durability is not what is tested here, and without it the tests take half the time.
  background postgres setpriv --reuid=postgres --regid=postgres --init-groups \
    "$bin/postgres" -D "$work/postgres/data" -p "$port" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 \
    -c max_pred_locks_per_transaction=1024 -c fsync=off -c timezone=UTC \
    -c ssl=on -c ssl_cert_file="$work/postgres/certificate.pem" \
    -c ssl_key_file="$work/postgres/key.pem"
  listening "$port" "${children[-1]}" postgres
  postgres="postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
  export BONDED_TEST_POSTGRES=$postgres
  export BONDED_TEST_POSTGRES_CERTIFICATE=$work/postgres/certificate.pem
  say "PostgreSQL $("$bin/postgres" --version | grep -oE '[0-9.]+' | head -n 1) on port $port"
}

# An S3 server of our own that keeps its objects in a directory.
start_s3() {
  local port
  scripts/tools.sh versitygw
  port=$(free_port)
  mkdir -p "$work/s3/bonded"
  background s3 "$tools/bin/versitygw" --access bonded-test --secret bonded-test-secret \
    --port "127.0.0.1:$port" posix "$work/s3"
  listening "$port" "${children[-1]}" s3
  export BONDED_TEST_S3="http://bonded-test:bonded-test-secret@127.0.0.1:$port/bonded"
  say "versitygw on port $port"
}

pytest() {
  "$tools/python/bin/python" -m pytest -c "$root/tests/pytest.ini" --rootdir "$root/tests" \
    --basetemp "$work/pytest" -q --durations=8 --durations-min=5 "$@"
}

# The form of the tests themselves.
ruff() {
  "$tools/python/bin/ruff" check --no-cache -q tests && "$tools/python/bin/ruff" format --no-cache --check -q tests
}

# Every target for BONDED_FUZZ_SECONDS. Wants a nightly compiler and cargo-fuzz (fuzz/README.md).
fuzz() {
  local target code=0
  for target in fuzz/targets/*.rs; do
    target=$(basename "$target" .rs)
    mkdir -p "fuzz/corpus/$target"
    cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" \
      "fuzz/seeds/$target" -- -max_total_time="${BONDED_FUZZ_SECONDS:-600}" -verbosity=0 \
      -print_final_stats=1 || code=1
  done
  return $code
}

# --- what is needed

if [ -d ../shared/data ]; then
  say "the vectors of ../shared are used"
else
  say "no ../shared: the tests that read its vectors say so and use their own examples"
fi
say "packages"
scripts/tools.sh apt
# The other tools are built while cargo builds.
background tools nice scripts/tools.sh versitygw python awscli1 node rootfs go
installing=${children[-1]}

# --- Rust

step "fmt" cargo fmt --all --check
step "build" cargo build --locked
if [[ " ${failures[*]} " == *" build "* ]]; then
  say "without a build there is nothing to test"
  exit 1
fi
step "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
start_postgres
start_s3
step "cargo test" cargo test --locked --workspace --no-fail-fast
RUSTDOCFLAGS="-D warnings" step "cargo doc" cargo doc --locked --workspace --no-deps

if [ "$mode" = quick ]; then
  exit 0
fi

# --- from outside

say "tools"
if ! wait "$installing"; then
  cat "$work/tools.log"
  say "the tools could not be installed"
  exit 1
fi
grep -v ' installed in ' "$work/tools.log" || true
grep -c ' installed in ' "$work/tools.log" | sed 's/$/ tools were installed/' || true

step "ruff" ruff
step "pytest on SQLite" pytest tests
clients=()
[ "$mode" = long ] || clients=(--ignore tests/clients)
BONDED_DATABASE=$postgres step "pytest on PostgreSQL" pytest tests "${clients[@]}"

if [ "$mode" = long ]; then
  if cargo +nightly fuzz --version >/dev/null 2>&1; then
    step "fuzz" fuzz
  else
    say "not run: the fuzz targets, which want a nightly compiler and cargo-fuzz"
  fi
fi
