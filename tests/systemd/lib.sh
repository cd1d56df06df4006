# lib.sh: runs a scenario, in the machine that was booted for it; what scenarios share.
#
# The packages are in debs/. A scenario is a list of checks; each prints one line.
# shellcheck shell=bash disable=SC2317,SC2034,SC1091
failures=0
PATIENCE=20
CONF=/etc/millgate/millgate.json
ADMIN=/run/millgate/admin.sock

# check TEXT COMMAND...: ok if the command succeeds; otherwise what it printed is shown.
check() {
	local text=$1 output
	shift
	if output=$("$@" 2>&1); then
		echo "ok - $text"
	else
		echo "not ok - $text"
		printf '%s\n' "\$ $*" "$output" | sed 's/^/    /'
		failures=$((failures + 1))
	fi
}

# same WANTED COMMAND...: what the command prints.
same() {
	local wanted=$1 output
	shift
	output=$("$@" 2>&1)
	[ "$output" = "$wanted" ] || { echo "wanted: $wanted, got: $output"; return 1; }
}

# says PATTERN COMMAND...: a line of what it prints, whatever its exit status.
says() {
	local pattern=$1 output
	shift
	output=$("$@" 2>&1)
	grep -Eq -- "$pattern" <<<"$output" || { printf '%s\n' "no $pattern in:" "$output"; return 1; }
}

not() {
	! "$@"
}

# eventually COMMAND...: succeeds within PATIENCE seconds; that is for a machine under load.
eventually() {
	local end=$((SECONDS + PATIENCE))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { "$@"; return; }
		sleep 0.05
	done
}

# install_debs FILE...: nothing is to be done where the packages came by other means.
install_debs() {
	[ -d debs ] || return 0
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Options::=--force-confold install "$@" \
		</dev/null >>apt.log 2>&1 || { tail -n 30 apt.log; return 1; }
}

# rebuild VERSION: the same package, of another version.
rebuild() {
	dpkg-deb --raw-extract debs/millgate_*.deb rebuilt &&
		sed -i "s/^Version: .*/Version: $1/" rebuilt/DEBIAN/control &&
		dpkg-deb --root-owner-group --build rebuilt "millgate-$1.deb" && rm -r rebuilt
}

# property NAME [UNIT]
property() {
	systemctl show --value --property="$1" "${2:-millgate.service}"
}

is() { # STATE [UNIT]
	same "$1" property ActiveState "${2:-millgate.service}"
}

main_pid() {
	property MainPID
}

workers() {
	pgrep --parent "$(main_pid)" | sort -n
}

# connect: a client more, held until the scenario ends. Its descriptor is $client.
connect() {
	exec {client}<>/dev/tcp/127.0.0.1/7000
}

connections() {
	millgatectl -s "$ADMIN" stats | sed -n 's/^metrics.connections_current //p'
}

# How many sockets listen on port 7000 (0x1B58); 0A is the state LISTEN.
listeners_7000() {
	grep -c '0100007F:1B58 00000000:0000 0A' /proc/net/tcp
}

# is_closed FD: the gateway closed it. Heartbeats that came before are read.
is_closed() {
	local status=0
	while [ $status -eq 0 ]; do
		IFS= read -r -t 5 -u "$1"
		status=$?
	done
	[ $status -eq 1 ]
}

# configure KEY=VALUE: a line more at the start of the configuration, such as '"log_level": "debug"'.
configure() {
	cp -n "$CONF" /root/millgate.json
	sed "0,/{/s//{ $1,/" /root/millgate.json >"$CONF"
}

. ./scenario.sh
exit $((failures > 0))
