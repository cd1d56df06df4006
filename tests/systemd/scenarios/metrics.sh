# The metrics socket: nobody listens there before the administrator wants it, and then it only tells.

# ask METHOD PATH: what is answered on the metrics socket.
ask() {
	local http
	exec {http}<>/dev/tcp/127.0.0.1/9464 || return
	printf '%s %s HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n' "$@" >&"$http"
	timeout 20 cat <&"$http"
	exec {http}>&-
}

check "the packages install" install_debs ./debs/*.deb
check "the metrics socket is not enabled" same disabled systemctl is-enabled millgate-metrics.socket
check "... and does not listen" is inactive millgate-metrics.socket
connect
check "the service runs" eventually same 1 connections
check "... and does not bring it along" is inactive millgate-metrics.socket
check "nobody answers there" not ask GET /metrics

check "it can be enabled while the service runs" \
	systemctl enable --quiet millgate-metrics.socket
check "a restart of the service starts it" systemctl restart millgate.service
check "... and it listens" is active millgate-metrics.socket
check "the units are free of faults" same "" systemd-analyze verify --man=no \
	millgate-metrics.socket millgate-metrics@x.socket millgate.service millgate@x.service
connect
check "the metrics are there" eventually says '^millgate_connections_current 2' ask GET /metrics
check "... as Prometheus wants them" says '^Content-Type: text/plain; version=0.0.4' ask GET /metrics
check "the health is there" says '"status": "ok"' ask GET /health
check "nothing else is" says '^HTTP/1.1 404 ' ask GET /stats
check "... and what is there is named" says 'GET /health, GET /metrics; found GET /stats' ask GET /stats
check "a write is refused" says '^HTTP/1.1 405 ' ask POST /metrics
check "... whatever it is" says '^HTTP/1.1 405 ' ask POST /drain
check "... with what is allowed" says '^Allow: GET' ask POST /drain
check "nothing is drained" says '^draining false' millgatectl stats
check "who may not steer may look" says '^HTTP/1.1 200 ' \
	runuser -u nobody -- bash -c "$(declare -f ask); ask GET /health"

mkdir -p /etc/systemd/system/millgate.service.d
printf '[Service]\n%s\n%s\n%s\n' PrivateNetwork=yes RestrictAddressFamilies=none \
	RestrictAddressFamilies=AF_UNIX >/etc/systemd/system/millgate.service.d/network.conf
systemctl daemon-reload
check "the service restarts without a network" systemctl restart millgate.service
check "its metrics are served all the same" eventually says '^HTTP/1.1 200 ' ask GET /metrics
check "its exposure is less" \
	systemd-analyze security --no-pager --threshold=8 millgate.service
rm /etc/systemd/system/millgate.service.d/network.conf
systemctl daemon-reload

check "all of it stops" systemctl stop millgate.socket millgate-admin.socket millgate-metrics.socket \
	millgate.service
check "... and nobody listens" not ask GET /health
check "the metrics socket starts by itself" systemctl start millgate-metrics.socket
check "who asks there starts the service" says '^HTTP/1.1 (200|503) ' ask GET /health

cp "$CONF" /etc/millgate/one.json
check "an instance has one too" \
	systemctl enable --quiet --now millgate@one.socket millgate-metrics@one.socket
check "... which is a socket of its own" same socket stat -c %F /run/millgate-one/metrics.sock
check "its service starts" systemctl start millgate@one.service
check "... and it is active" is active millgate-metrics@one.socket
systemctl disable --quiet millgate@one.socket millgate-metrics@one.socket
check "the instance stops" \
	systemctl stop millgate@one.socket millgate-metrics@one.socket millgate@one.service
check "nothing failed" same "" systemctl --failed --quiet --no-legend
