# lib.sh: what the scripts share. Sourced by bash, from the root of the tree.
# shellcheck shell=bash

# What configure and make want.
# shellcheck disable=SC2034
BUILD_PACKAGES=(build-essential autoconf automake pkg-config libevent-dev libjansson-dev
	libssl-dev libsystemd-dev libxxhash-dev)

# A line for each argument.
say() {
	printf '%s\n' "$@"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Runs a command as root.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# Prints those of the Debian packages that are not installed.
missing_packages() {
	local package
	for package in "$@"; do
		dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null |
			grep -qx installed || printf '%s\n' "$package"
	done
}

# Installs those of the Debian packages that are missing; asks nothing.
need_packages() {
	local -a missing
	if ! command -v dpkg-query >/dev/null; then
		say "This is not Debian: going on in the hope that all of this is here: $*"
		return
	fi
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	say "Installing Debian packages: ${missing[*]}"
	if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
		die "that takes root: apt-get install ${missing[*]}"
	fi
	# Lists that cannot be renewed may still do.
	as_root apt-get -qq update || say "apt-get update failed; trying with the lists that are here"
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install "${missing[@]}" \
		>/dev/null </dev/null || die "apt-get could not install: ${missing[*]}"
}

# Makes ./configure, unless it is there and fresh.
make_configure() {
	if [ configure -nt configure.ac ] && [ Makefile.in -nt Makefile.am ]; then
		return
	fi
	autoreconf -fi
}

# configure_in DIR ARGUMENT...: configures in DIR, unless that was done with these arguments.
configure_in() {
	local dir=$1 root=$PWD
	shift
	make_configure || return
	mkdir -p "$dir" || return
	if [ -f "$dir/Makefile" ] && [ "$(cat "$dir/arguments" 2>/dev/null)" = "$*" ]; then
		return
	fi
	(cd "$dir" && "$root/configure" --quiet "$@") || return
	printf '%s\n' "$*" >"$dir/arguments"
}
