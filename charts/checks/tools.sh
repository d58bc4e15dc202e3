#!/usr/bin/env bash
# Installs the tools that check the chart, each at its pinned version, outside of the checkout; prints the folder.
# `helm` is Helm 3, `helm4` is Helm 4.
set -euo pipefail

HELM=v3.19.5
HELM4=v4.3.1
KUBECONFORM=v0.7.0
PROMETHEUS=2.42 # Debian 12's

cache=${FLOTILLA_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/flotilla-tools}
bin=$cache/bin
mkdir -p "$bin"
export PATH="$PATH:/usr/local/go/bin"

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# from_go NAME VERSION PACKAGE [LDFLAGS]: builds a program once and links it under its name.
from_go() {
  local kept=$cache/$1-$2
  if [ ! -x "$kept" ]; then
    command -v go >/dev/null || die "$1 $2 is built from its Go module: install Go 1.25 or newer"
    say "building $1 $2 (once)…"
    local out
    out=$(mktemp -d "$cache/build.XXXXXX")
    GOBIN=$out GOFLAGS= CGO_ENABLED=0 go install -trimpath -ldflags "-s -w ${4:-}" "$3@$2" || { rm -rf "$out"; die "go install $3@$2 failed"; }
    mv "$out/$(basename "$3")" "$kept"
    rmdir "$out"
  fi
  ln -sf "$kept" "$bin/$1"
}

# promtool is in Debian's package of the server, which need not be installed for it.
unpack_promtool() {
  local kept=$cache/promtool-$PROMETHEUS found out
  if [ ! -x "$kept" ]; then
    found=$(command -v promtool || true)
    if [ -n "$found" ]; then
      ln -sf "$found" "$bin/promtool"
      return
    fi
    command -v apt-get >/dev/null || die "promtool is missing: install Prometheus 2.42 or newer"
    say "unpacking promtool $PROMETHEUS (once)…"
    out=$(mktemp -d "$cache/build.XXXXXX")
    (cd "$out" && { apt-get -qq -o APT::Sandbox::User=root download prometheus || { apt-get update -qq && apt-get -qq -o APT::Sandbox::User=root download prometheus; }; }) >&2 ||
      die "apt-get download prometheus failed"
    dpkg-deb -x "$out"/prometheus_*.deb "$out"
    mv "$out/usr/bin/promtool" "$kept"
    rm -rf "$out"
  fi
  ln -sf "$kept" "$bin/promtool"
}

# The Kubernetes that Helm takes for granted without a cluster.
kubernetes='-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34'
from_go helm $HELM helm.sh/helm/v3/cmd/helm "$kubernetes"
from_go kubeconform $KUBECONFORM github.com/yannh/kubeconform/cmd/kubeconform
from_go helm4 $HELM4 helm.sh/helm/v4/cmd/helm
unpack_promtool
echo "$bin"
