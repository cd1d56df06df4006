# Upgrade, removal, purge, and back again.

find_millgate() {
	find / -xdev -iname '*millgate*' -not -path '/scenario/*' -not -path '/var/log/*' \
		-not -path '/proc/*' -not -path '/sys/*'
	find /run -iname '*millgate*' -not -path '/run/log/*'
	getent passwd millgate
	getent group millgate
	systemctl list-unit-files --quiet --no-legend '*millgate*'
}

check "there is nothing of millgate before" same "" find_millgate
install_debs ./debs/*.deb
rebuild 90.1 >/dev/null
check "an upgrade of an idle service" install_debs ./millgate-90.1.deb
check "... does not start it" is inactive

echo "  " >>"$CONF"
connect
check "a client starts it" eventually is active
pid=$(main_pid)
since=$(property ActiveEnterTimestampMonotonic millgate.socket)
rebuild 90.2 >/dev/null
check "an upgrade of a running service" install_debs ./millgate-90.2.deb
check "... restarts it" not same "$pid" main_pid
check "... it is active" is active
check "... the sockets listened all the time" same "$since" \
	property ActiveEnterTimestampMonotonic millgate.socket
check "... an edited configuration stays" same "  " tail -n 1 "$CONF"
connect
check "... a client is held, and the one of before" eventually same 2 connections

cp "$CONF" good.json
echo '{ "workres": 1 }' >"$CONF"
rebuild 90.3 >/dev/null
check "an upgrade with a bad configuration does not fail the installation" \
	install_debs ./millgate-90.3.deb
check "... but the service" eventually says '^[1-9]' property NRestarts
check "... and systemctl status tells why" \
	eventually says 'millgate.json:.*workres' systemctl status millgate
cp good.json "$CONF"
check "... with a good one it starts" eventually is active
check "... and has the clients of before" eventually same 2 connections

check "it is removed" apt-get -q -y remove millgate
check "... nothing of it runs" not pgrep millgated
check "... its port is free" same 0 listeners_7000
check "... its configuration stays" test -f "$CONF"
rm "$CONF"
check "it is installed again" install_debs -o Dpkg::Options::=--force-confmiss ./debs/millgate_*.deb
check "... its socket listens" is active millgate.socket
connect
check "... a client is held" eventually same 1 connections
check "it is purged while it runs" apt-get -q -y purge millgate millgate-tools
check "... nothing of it runs" not pgrep millgated
systemctl daemon-reload
systemctl reset-failed
check "... nothing is left" same "" find_millgate
