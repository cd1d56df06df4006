# What the administrator may add when all listeners are systemd's: no network, and no new socket.
install_debs ./debs/*.deb
mkdir -p /etc/systemd/system/millgate.service.d
printf '[Service]\n%s\n%s\n%s\n' PrivateNetwork=yes RestrictAddressFamilies=none \
	RestrictAddressFamilies=AF_UNIX >/etc/systemd/system/millgate.service.d/network.conf
systemctl daemon-reload
connect
check "a client is held" eventually same 1 connections
check "the service sees no network but its own" says '^ *lo:' \
	sh -c "grep : /proc/$(main_pid)/net/dev"
check "... where nobody listens" same 0 \
	sh -c "grep -c 1B58 /proc/$(main_pid)/net/tcp"
check "its exposure is less" \
	systemd-analyze security --no-pager --threshold=8 millgate.service
check "a client can be killed" says 1 millgatectl kill --source 127.0.0.1/32
check "the client is told" is_closed "$client"
sed 's/"hold"/"echo"/; s/"heartbeat".*/"limits": {}/' "$CONF" >/root/echo.json
cp /root/echo.json "$CONF"
check "it restarts, with another service" systemctl restart millgate
connect
echo hello >&"$client"
IFS= read -r -t 20 -u "$client" line
check "a client is served" same hello echo "$line"
