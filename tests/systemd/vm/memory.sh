# MemoryMax: the kernel kills the worker that took too much; the other one holds on.
install_debs ./debs/*.deb
cat >"$CONF" <<END
{
	"workers": 2,
	"listeners": {
		"public": { "address": "127.0.0.1:7000", "service": "hold" },
		"loud": {
			"address": "127.0.0.1:7001",
			"service": "hold",
			"heartbeat": { "interval": "10ms", "payload": "$(printf '%01024d' 0)" },
			"limits": { "queued_bytes_per_connection": "16MiB" }
		}
	},
	"admin": { "socket": "$ADMIN" },
	"limits": { "queued_bytes": "1GiB" }
}
END
mkdir -p /etc/systemd/system/millgate.service.d
printf '[Service]\nMemoryMax=48M\n' >/etc/systemd/system/millgate.service.d/memory.conf
systemctl daemon-reload
sysctl -q net.ipv4.tcp_wmem='4096 16384 16384' # so that they are queued by millgate soon
check "it starts" systemctl start millgate
check "it becomes well" eventually millgatectl health
check "tune tells that MemoryMax does not do for the queues" \
	says '^short +MemoryMax +50331648 +at least' millgatectl tune
pid=$(main_pid)

# Of two workers with 50 clients each one is replaced: all that come then are for the new one.
millgate-bench --connections 100 --hold --quiet --ready-file quiet 127.0.0.1:7000 >quiet.log 2>&1 &
eventually test -s quiet
check "two workers hold clients" same 100 connections
read -r first second < <(workers | paste -sd' ')
kill -KILL "$first"
check "one is replaced" eventually same 2 sh -c "pgrep --parent $pid | grep -vxc $first"
check "... and is well" eventually millgatectl health
check "the other holds its clients" same 50 connections
full=$(workers | grep -vx "$second")

millgate-bench --connections 50 --workload slow --hold --quiet --receive-buffer 4096 \
	--ready-file loud 127.0.0.1:7001 >loud.log 2>&1 &
eventually test -s loud
check "clients who do not read come to the new one" same 100 connections
PATIENCE=90
check "the kernel kills it, as it queues too much for them" eventually not kill -0 "$full"
check "systemd tells why" eventually says 'killed by the OOM killer' journalctl -u millgate
check "the journal tells which" eventually says "pid $full.*died of signal 9.*50 connections lost" \
	journalctl -u millgate
check "it is replaced" eventually same 2 sh -c "pgrep --parent $pid | grep -vxc $full"
check "... and the gateway well" eventually millgatectl health
check "the other one holds its clients" same 50 connections
check "... and is the same" says "^$second\$" workers
check "the supervisor is the same" same "$pid" main_pid
check "the service was never restarted" same 0 property NRestarts
connect
check "a client that comes now is held" eventually same 51 connections
