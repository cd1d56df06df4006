# LimitNOFILE, below and above what the kernel allows at most (fs.nr_open).

# files PID: how many it may have open.
files() {
	sed -n 's/^Max open files *\([0-9]*\) .*/\1/p' "/proc/$1/limits"
}

# restart_with: standard input is a drop-in of the unit.
restart_with() {
	mkdir -p /etc/systemd/system/millgate.service.d
	cat >/etc/systemd/system/millgate.service.d/limit.conf
	systemctl daemon-reload
	systemctl restart millgate && eventually millgatectl health
}

# What it had to say since its last start.
warnings() {
	journalctl -q -o cat -p warning "_SYSTEMD_INVOCATION_ID=$(property InvocationID)"
}

install_debs ./debs/*.deb
configure '"workers": 1'
connect
check "the first client starts it" eventually same 1 connections
check "the unit has what the kernel allows at most" same "$(sysctl -n fs.nr_open)" files "$(main_pid)"
check "... and its worker" same 1048576 files "$(workers)"
check "status tells for how many connections that is" says '1 of 1,048,544' millgatectl status
check "it has nothing to say against that" not says 'descriptors|LimitNOFILE' warnings

check "a limit below the connections" restart_with <<<$'[Service]\nLimitNOFILE=30000'
check "... is its worker's" same 30000 files "$(workers)"
few='1 workers with 30000 file descriptors each hold 29968 connections, fewer than limits.connections'
check "the journal tells of it" says "$few \(100000\): LimitNOFILE=100032" warnings
check "status tells of it" says "warning: $few" millgatectl status
check "tune tells of it" says '^short +LimitNOFILE +30000 +at least 100032' millgatectl tune
millgatectl tune --unit >tuned.conf
check "the drop-in that tune makes" restart_with <tuned.conf
check "... is enough" same 100032 files "$(workers)"
check "... so that the warning is gone" not says 'LimitNOFILE' warnings
check "tune is content with it" says '^ok +LimitNOFILE +100032' millgatectl tune

configure '"workers": 1, "limits": { "connections": 2000000 }'
check "a limit above fs.nr_open" restart_with <<<$'[Service]\nLimitNOFILE=2000032'
check "... is lowered by systemd" same 1048576 files "$(workers)"
check "... of which the journal tells" says 'with 1048576 file descriptors each hold 1048544' warnings
check "tune tells of fs.nr_open" says '^short +fs.nr_open +1048576 +at least 2000032' millgatectl tune
millgatectl tune --apply
check "tune --apply raises it" same 2000032 sysctl -n fs.nr_open
check "the limit above the former fs.nr_open is now" systemctl restart millgate
check "... the worker's" same 2000032 files "$(workers)"
check "... with no warning" not says 'descriptors|LimitNOFILE|nr_open' warnings
