# The journal has fields to search by.
install_debs ./debs/*.deb
configure '"log_level": "debug"'
connect
first=$client
connect
check "two clients are held" eventually same 2 connections
exec {first}>&-
check "why a connection was closed" eventually says 'closed: client_closed' \
	journalctl -o cat MILLGATE_REASON=client_closed
check "its other fields" eventually says '"MILLGATE_LISTENER":"public"' \
	journalctl -o json MILLGATE_REASON=client_closed
check "... the peer" says '"MILLGATE_PEER":"127.0.0.1' \
	journalctl -o json MILLGATE_REASON=client_closed
check "... the worker" says '"MILLGATE_WORKER":"[0-9]+"' \
	journalctl -o json MILLGATE_REASON=client_closed
millgatectl kill --source 127.0.0.0/8 >/dev/null
check "another reason" eventually says 'closed: killed' journalctl -o cat MILLGATE_REASON=killed
check "lines are millgated's" says . journalctl -o cat -t millgated MILLGATE_REASON=killed
check "... and the unit's" says . journalctl -o cat -u millgate MILLGATE_REASON=killed
check "... of level debug" says '"PRIORITY":"7"' journalctl -o json MILLGATE_REASON=killed
check "what an operator acts on is of level info" says 'ready: .* workers' \
	journalctl -o cat -u millgate -p info
