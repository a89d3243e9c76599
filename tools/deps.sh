#!/bin/sh
# Installs what the tests need besides Go, where it is missing: a redis-server, and a C compiler for the race detector and
# for the clock that tests step under a redis-server.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

missing=
has "${REDIS_SERVER:-redis-server}" || missing="$missing redis"
has cc || has gcc || has clang || missing="$missing cc"
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ] && has sudo; then root=sudo; fi

packages=
if has apt-get && { [ "$(id -u)" -eq 0 ] || [ -n "$root" ]; }; then
	for m in $missing; do
		case $m in
		redis) packages="$packages redis-server" ;;
		cc) packages="$packages gcc libc6-dev" ;;
		esac
	done
	echo "installing$packages"
	$root apt-get update -q
	# shellcheck disable=SC2086 # one word a package
	$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
elif has brew && [ "$missing" = " redis" ]; then
	brew install redis
else
	for m in $missing; do
		case $m in
		redis) echo "missing: redis-server 7 or later; install it with your system's package manager, or set REDIS_SERVER to its path" >&2 ;;
		cc) echo "missing: a C compiler for go test -race; install gcc or clang with your system's package manager" >&2 ;;
		esac
	done
	exit 1
fi
