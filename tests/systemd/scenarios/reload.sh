# systemctl reload, of a good file and of a bad one.
install_debs ./debs/*.deb
connect
check "a client is held" eventually same 1 connections
pid=$(main_pid)

configure '"limits": { "connections": 5 }'
check "a good file is taken" systemctl reload millgate
check "the new limit is in force" eventually says 'Status: "Ready: 1 of 5 connections' \
	systemctl status millgate
configure '"limits": { "connections": 0 }'
check "a bad file is refused" not systemctl reload millgate
check "systemctl status tells what is wrong" \
	eventually says 'millgate.json:.*limits.connections' systemctl status millgate
check "the service is still active" is active
check "the old limit is still in force" says 'Status: "Ready: 1 of 5 connections' \
	systemctl status millgate
kill -HUP "$pid"
check "the same by a signal: the journal tells" \
	eventually says 'reload failed: the configuration is in error; nothing was changed' \
	journalctl -u millgate
configure '"limits": { "connections": 7 }'
check "the mended file is taken" systemctl reload millgate
check "its limit is in force" eventually says 'Status: "Ready: 1 of 7 connections' \
	systemctl status millgate
check "the client never noticed" same 1 connections
check "the process is the same" same "$pid" main_pid
