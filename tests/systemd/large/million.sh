# A million connections in one worker, or as many as the memory is for, over restarts of the real service.
# By name only: MEMORY=13000 TIMEOUT=3000 tests/systemd/run --vm million
# In emulation a connection costs 20 times the work; how long anything takes says nothing here.
PATIENCE=1500
pair_kib=11 # of the kernel's memory, for both ends
spare_kib=1500000
total_kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
N=$(((total_kib - spare_kib) / pair_kib))
[ $N -le 1000000 ] || N=1000000

install_debs ./debs/*.deb
timeouts='"stop_timeout": "10m", "worker_timeout": "5m"'
configure "\"workers\": 1, $timeouts, \"limits\": { \"connections\": $((N + 10)) }"
sed -i 's/"heartbeat".*/"limits": {}/' "$CONF"
mkdir -p /etc/systemd/system/{millgate,scenario}.service.d
printf '[Service]\nTimeoutStopSec=15min\nTimeoutStartSec=15min\nWatchdogSec=0\n' \
	>/etc/systemd/system/millgate.service.d/slow.conf
printf '[Service]\nTimeoutStartSec=infinity\n' >/etc/systemd/system/scenario.service.d/slow.conf
systemctl daemon-reload
connect
check "the first client starts it" eventually same 1 connections
check "the kernel is tuned, as far as it can be" says "tcp_max_orphans = " millgatectl tune --apply
check "... and more so for emulation" sysctl net.core.netdev_max_backlog=1000000
exec {client}>&-
check "nobody is connected" eventually same 0 connections

millgate-bench --connections $N --source 127.1.0.0/16 --rate 2000 \
	--connect-timeout 60s --hold --quiet \
	--ready-file ready --json 127.0.0.1:7000 >bench.json &
check "$N come up" eventually test -s ready
check "... and none failed" same "up $N failed 0" cat ready
check "they are counted" same $N connections
worker=$(workers)

# over_it WHAT: nobody was lost, and nothing was wrong.
over_it() {
	check "$1" eventually same $N connections
	check "... none is lost" same "" sh -c \
		"millgatectl stats | grep '^closed.*_failed [1-9]\|^closed.*_lost [1-9]\|^closed.*_reset [1-9]'"
	check "... by another worker" not same "$worker" workers
	worker=$(workers)
	journalctl -q -o short-monotonic -u millgate -n 4 --no-pager | sed 's/^/    /'
}

check "a restart" systemctl restart millgate
over_it "they are there after the restart"
systemctl kill --kill-who=main --signal=KILL millgate
check "a killed supervisor is started again" eventually same 1 property NRestarts
over_it "they are there after it was killed"
rebuild 90.1 >/dev/null
check "an upgrade of the package" install_debs ./millgate-90.1.deb
over_it "they are there after the upgrade"
connect
check "one more is held" eventually same $((N + 1)) connections
