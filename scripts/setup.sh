#!/bin/sh
# Installs what is missing, and nothing else: npm's packages into node_modules, and Debian's by apt-get.
# With --tests also the programs that the tests compare Orlop with.
set -eu
cd "$(dirname "$0")/.."

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "+ npm ci"
  npm ci --no-fund --no-audit --loglevel=error
fi

missing=""
need() { # need <package> <file that it brings>...
  package=$1
  shift
  for file in "$@"; do
    if [ -e "$file" ]; then return; fi
  done
  missing="$missing $package"
}
need containerd /usr/bin/containerd /usr/local/bin/containerd
need runc /usr/sbin/runc /usr/bin/runc /usr/local/sbin/runc /usr/local/bin/runc
need containernetworking-plugins /usr/lib/cni/bridge /opt/cni/bin/bridge
need iptables /usr/sbin/iptables /sbin/iptables
need iproute2 /usr/sbin/ip /sbin/ip /usr/bin/ip /bin/ip
need procps /usr/bin/ps /bin/ps
need docker-registry /usr/bin/docker-registry
need catatonit /usr/bin/catatonit /usr/libexec/podman/catatonit
if ! dpkg -s busybox-static >/dev/null 2>&1; then missing="$missing busybox-static"; fi
if ! command -v kubectl >/dev/null 2>&1; then missing="$missing kubernetes-client"; fi
if [ "${1-}" = --tests ]; then
  need umoci /usr/bin/umoci
  need openssl /usr/bin/openssl
  need apache2-utils /usr/bin/htpasswd
fi

if [ -n "$missing" ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "setup: missing from this machine:$missing; run this as root, or: sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
  fi
  echo "+ apt-get install$missing"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  # shellcheck disable=SC2086 # a list of words
  if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    echo "setup: apt-get could not install:$missing; its words are above" >&2
    exit 1
  fi
  rm -f "$log"
fi
