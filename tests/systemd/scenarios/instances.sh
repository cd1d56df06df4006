# Several gateways on one machine, each with its own configuration and sockets.
install_debs ./debs/*.deb
sed 's/"hold"/"echo"/; s/"heartbeat".*/"limits": {}/' "$CONF" >/etc/millgate/one.json
check "its configuration is good" millgated --check /etc/millgate/one.json
mkdir -p /etc/systemd/system/millgate@one.socket.d
printf '[Socket]\nListenStream=127.0.0.1:7001\n' >/etc/systemd/system/millgate@one.socket.d/port.conf
systemctl daemon-reload
check "its sockets are enabled and start" \
	systemctl enable --quiet --now millgate@one.socket millgate-admin@one.socket
check "its service waits for a client" is inactive millgate@one.service
exec {echo}<>/dev/tcp/127.0.0.1/7001
echo hello >&"$echo"
IFS= read -r -t 20 -u "$echo" line
check "the first client starts it, and is served" same hello echo "$line"
check "its service is active" is active millgate@one.service
check "the other is not" is inactive
check "it is asked on a socket of its own" says '1 of 100,000' \
	millgatectl -s /run/millgate-one/admin.sock status
connect
check "both run side by side" eventually same 1 connections
check "it reloads by itself" systemctl reload millgate@one
check "one stops" systemctl stop millgate.service
check "... the other does not" is active millgate@one.service
check "its exposure is at most 1.5" \
	systemd-analyze security --no-pager --threshold=15 millgate@one.service
check "the package goes" apt-get -q -y purge millgate
check "... and instances with it" not pgrep millgated
