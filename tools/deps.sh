#!/bin/sh
# Installs what the tests need besides Go, where it is missing: a redis-server, a C compiler for the race detector and for the
# clock that tests step under a redis-server, a Chromium for the tests of the dashboard, and, on Linux, systemd's verifier of units.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

# As the tests of the dashboard look for it: see chrome in web/browsertest.
has_chrome() {
	if [ -n "${CHROME:-}" ]; then
		has "$CHROME"
		return
	fi
	for c in chromium chromium-browser google-chrome google-chrome-stable chrome \
		/Applications/Chromium.app/Contents/MacOS/Chromium "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
		if has "$c"; then return 0; fi
	done
	return 1
}

missing=
has "${REDIS_SERVER:-redis-server}" || missing="$missing redis"
has cc || has gcc || has clang || missing="$missing cc"
has_chrome || missing="$missing chrome"
[ "$(uname)" != Linux ] || has systemd-analyze || missing="$missing systemd"
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ] && has sudo; then root=sudo; fi

packages=
if has apt-get && { [ "$(id -u)" -eq 0 ] || [ -n "$root" ]; }; then
	for m in $missing; do
		case $m in
		redis) packages="$packages redis-server" ;;
		cc) packages="$packages gcc libc6-dev" ;;
		chrome) packages="$packages chromium fonts-dejavu-core" ;;
		systemd) packages="$packages systemd" ;;
		esac
	done
	echo "installing$packages"
	$root apt-get update -q
	# shellcheck disable=SC2086 # one word a package
	$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
elif has brew && [ "${missing#* cc}" = "$missing" ]; then
	for m in $missing; do
		case $m in
		redis) brew install redis ;;
		chrome) brew install --cask google-chrome ;;
		esac
	done
else
	for m in $missing; do
		case $m in
		redis) echo "missing: redis-server 7 or later; install it with your system's package manager, or set REDIS_SERVER to its path" >&2 ;;
		cc) echo "missing: a C compiler for go test -race; install gcc or clang with your system's package manager" >&2 ;;
		chrome) echo "missing: Chromium or Chrome for the tests of the dashboard; install it with your system's package manager, or set CHROME to its path" >&2 ;;
		systemd) echo "missing: systemd-analyze, which checks the units in deploy; install systemd with your system's package manager" >&2 ;;
		esac
	done
	exit 1
fi
