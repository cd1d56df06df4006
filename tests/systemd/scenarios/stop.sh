# Stop, start, restart; and what a bad configuration does to them.
install_debs ./debs/*.deb
connect
check "a client is held" eventually same 1 connections
check "it stops" systemctl stop millgate.service
check "the service is inactive, not failed" is inactive
check "that is no error" same "" journalctl -q -o cat -u millgate -p err
check "its clients are closed" is_closed "$client"
check "the sockets stay" is active millgate.socket
check "the admin socket's path stays" test -S "$ADMIN"
connect
check "the next client starts it" eventually is active
check "it is held" eventually same 1 connections

check "sockets and service restart together" \
	systemctl restart millgate.socket millgate-admin.socket millgate.service
check "the service is active" is active
check "the socket is active" is active millgate.socket
connect
check "a client is held, and the one of before" eventually same 2 connections
check "nothing else has the port" same 1 listeners_7000

systemctl reset-failed millgate
check "so do they if one of them is restarted" systemctl restart millgate-admin.socket
check "the service is active" eventually is active
check "the admin socket is" millgatectl status
connect
check "a client is held, and those of before" eventually same 3 connections

systemctl reset-failed millgate # starts are counted, and there were many
cp "$CONF" /root/good.json
echo '{ "listeners": {}, "workres": 1 }' >"$CONF"
check "a restart with a bad file fails" not systemctl restart millgate.service
check "systemctl status tells what is wrong" \
	eventually says 'millgate.json:.*workres' systemctl status millgate
check "systemd tries again, for connections are parked" eventually says '^[1-9]' property NRestarts
connect
cp /root/good.json "$CONF"
check "with a good file it starts" eventually is active
check "nobody was lost, and the client of the meantime is held" eventually same 4 connections

check "it stops" systemctl stop millgate.service
check "its clients are closed" is_closed "$client"
systemctl reset-failed millgate
echo '{ "listeners": {}, "workres": 1 }' >"$CONF"
check "a start with a bad file fails" not systemctl start millgate.service
check "systemd does not try again, for nothing is parked" same 0 property NRestarts
check "it is failed" is failed
connect
check "systemd gives up on a client who would start it" eventually is failed millgate.socket
check "the client is turned away" is_closed "$client"
systemctl reset-failed
cp /root/good.json "$CONF"
check "with a good file it starts" systemctl restart millgate.socket millgate.service
connect
check "a client is held" eventually same 1 connections
check "it stops" systemctl stop millgate.service

systemctl reset-failed millgate
sed 's/"public"/"private"/' /root/good.json >"$CONF"
check "a restart fails when no listener has the socket's name" not systemctl restart millgate.service
check "systemctl status tells which" says 'Status: "systemd passed a socket named "public"' \
	systemctl status millgate
check "it binds nothing of its own instead" same 1 listeners_7000
