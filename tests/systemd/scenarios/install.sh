# The package is installed: its sockets listen, and the first client starts the service.
check "the packages install" install_debs ./debs/*.deb
check "a socket for clients listens" is active millgate.socket
check "a socket for the administrator listens" is active millgate-admin.socket
check "the service waits for a client" is inactive
check "the sockets come back with a boot" same $'enabled\nenabled' \
	systemctl is-enabled millgate.socket millgate-admin.socket
check "it has a user" says '^millgate:x:[0-9]+:[0-9]+:.*:/usr/sbin/nologin$' getent passwd millgate
check "the configuration is a conffile" says '^ /etc/millgate/millgate.json ' \
	dpkg-query --show --showformat='${Conffiles}\n' millgate
check "the units are free of faults" same "" systemd-analyze verify --man=no millgate.socket \
	millgate-admin.socket millgate.service millgate@x.socket millgate-admin@x.socket \
	millgate@x.service

connect
check "the first client starts it" eventually is active
check "the client is held" eventually same 1 connections
check "systemctl status tells how it is" \
	eventually says 'Status: "Ready: 1 of 100000 connections \(0.0 %\), [0-9]+ of [0-9]+ workers"' \
	systemctl status millgate
check "it runs as its user, and its workers do" same millgate \
	sh -c "ps -o user= -p $(main_pid),$(workers | paste -sd,) | sort -u"
check "it has no capability" same 0000000000000000 \
	sed -n 's/^CapBnd:[[:space:]]*//p' "/proc/$(main_pid)/status"
check "its supervisor yields to its workers" eventually says 'SCHED_BATCH$' chrt -p "$(main_pid)"
check "its files are as many as this machine lets it have" same "$(ulimit -Hn)" \
	sed -n 's/^Max open files *\([0-9]*\) .*/\1/p' "/proc/$(main_pid)/limits"
check "its exposure is at most 1.5" \
	systemd-analyze security --no-pager --threshold=15 millgate.service
check "nothing failed" same "" systemctl --failed --quiet --no-legend
