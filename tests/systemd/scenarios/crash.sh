# Processes die, or stop to answer.
install_debs ./debs/*.deb
configure '"workers": 2'
connect
check "the first client starts it" eventually same 1 connections
check "both workers are up" eventually millgatectl health
connect # for the worker that has none
check "two clients are held, one by each worker" eventually same 2 connections
pid=$(main_pid)
read -r worker _ < <(workers | paste -sd' ')

kill -KILL "$worker"
check "a killed worker is replaced" eventually says 'Ready: [01] of 100000 .* 2 of 2 workers' \
	property StatusText
check "its client is gone, the other one is held" eventually same 1 connections
check "the supervisor is the same" same "$pid" main_pid
check "the journal tells of it" says "worker.*signal 9|worker.*[Kk]illed" journalctl -u millgate
connect
check "a client that comes now is held" eventually same 2 connections

systemctl kill --kill-who=main --signal=KILL millgate
check "a killed supervisor is started again" eventually same 1 property NRestarts
check "... and becomes ready" eventually is active
check "... with the clients of before" eventually same 2 connections
connect
check "a client that comes now is held" eventually same 3 connections
check "the sockets never went" same 0 property NRefused millgate.socket

mkdir -p /run/systemd/system/millgate.service.d
printf '[Service]\nWatchdogSec=1s\n' >/run/systemd/system/millgate.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart millgate
pid=$(main_pid)
kill -STOP "$pid"
check "the watchdog ends a supervisor that does not answer" \
	eventually says 'Watchdog timeout' journalctl -u millgate
check "... and systemd starts another" eventually says "^[1-9]" property NRestarts
check "... which becomes ready" eventually is active
check "... and is another" not same "$pid" main_pid
check "... with the clients of before" eventually same 3 connections
connect
check "a client that comes now is held" eventually same 4 connections
