#!/usr/bin/env bash
# Installs what tests use besides Go: CalDAV servers and clients that nobody here
# wrote, and PostgreSQL, as Debian packages. Without them those tests say so and are skipped.
set -euo pipefail

packages=()
need() { # command or Python module, package
	case $1 in
	pg:server) compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || packages+=("$2") ;;
	python:*) /usr/bin/python3 -c "import ${1#python:}" 2>/dev/null || packages+=("$2") ;;
	*) command -v "$1" >/dev/null 2>&1 || packages+=("$2") ;;
	esac
}
need radicale radicale
need xandikos xandikos
need vdirsyncer vdirsyncer
need calcurse-caldav calcurse
need pg:server postgresql # what Debian starts by itself is not used
need pgbouncer pgbouncer
need python:httplib2 python3-httplib2 # calcurse-caldav's
need python:caldav python3-caldav

# Debian starts Cyrus where it can: there it is left to whoever owns the machine.
cyrus=()
if [ ! -d /run/systemd/system ]; then
	[ -x /usr/lib/cyrus/bin/imapd ] || cyrus+=(cyrus-imapd)
	[ -x /usr/lib/cyrus/bin/httpd ] || cyrus+=(cyrus-caldav)
	# It wants a mail server; this is the smallest, and listens nowhere.
	[ ${#cyrus[@]} -eq 0 ] || command -v sendmail >/dev/null 2>&1 || cyrus+=(msmtp-mta)
fi

all="${packages[*]} ${cyrus[*]}"
if [ "$all" = " " ]; then
	exit 0
fi
echo "installing $all"
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
	echo "not root on Debian: tests that need $all will be skipped"
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null || true
install() {
	[ $# -eq 0 ] || apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
		echo "could not be installed: tests that need $* will be skipped"
}
install "${packages[@]}"
install "${cyrus[@]}"
