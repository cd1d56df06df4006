# 50,000 connections in one worker, on a kernel that is tuned for them.
N=50000
PATIENCE=240 # seconds; in emulation a connect takes 20 times as long, and others may run

count_files() {
	find "/proc/$1/fd" -type l | wc -l
}

closed() {
	millgatectl stats | sed -n "s/^closed.$1 //p"
}

install_debs ./debs/*.deb
configure '"workers": 1'
# Without heartbeats: one for somebody who has just left is answered by a reset.
sed -i 's/"heartbeat".*/"limits": {}/' "$CONF"
connect
check "the first client starts it" eventually same 1 connections
check "the kernel is tuned" millgatectl tune --apply
# The work of 10 ms takes 200 ms here, and packets that are dropped would take seconds to come again.
check "... and more so for emulation" sysctl net.core.netdev_max_backlog=100000
exec {client}>&-
check "nobody is connected" eventually same 0 connections
worker=$(workers)
files=$(count_files "$worker")

millgate-bench --connections $N --processes 1 --source 127.1.0.0/16 --hold --quiet \
	--ready-file ready --json 127.0.0.1:7000 >bench.json &
bench=$!
check "all come up" eventually test -s ready
check "... and none failed" same "up $N failed 0" cat ready
check "they are counted" same $N connections
check "the worker has a descriptor for each" same $((files + N)) count_files "$worker"
check "status tells of them" says '^In workers +50,000 of 1,048,544' millgatectl status

check "each is listed" same $N sh -c "millgatectl --json list --limit 0 | grep -c '\"id\"'"
connect
check "one more is held" eventually same $((N + 1)) connections
exec {client}>&-
check "one that goes is not missed" eventually same $N connections
check "systemctl status tells of them" eventually says 'Ready: 50000 of 100000 connections .50.0 %' \
	systemctl status millgate

check "a restart" systemctl restart millgate
check "... and none is lost" same $N connections
check "... by another worker" not same "$worker" workers

systemctl kill --kill-who=main --signal=KILL millgate
check "a killed supervisor is started again" eventually same 1 property NRestarts
check "... and none is lost" eventually same $N connections

pid=$(main_pid)
rebuild 90.1 >/dev/null
check "an upgrade of the package" install_debs ./millgate-90.1.deb
check "... by another process" not same "$pid" main_pid
check "... and none is lost" eventually same $N connections
since=$(date '+%F %T')
worker=$(workers)
check "... which has a descriptor for each" same $((files + N)) count_files "$worker"

kill -INT $bench
wait $bench
check "they close, and none was lost before" same 0 echo $?
check "they are gone" eventually same 0 connections
check "... each of them by closing" same $((N + 2)) closed client_closed
check "... so that the worker has its descriptors back" same "$files" count_files "$worker"
check "the worker is the same all the time" same "$worker" workers
check "nothing was worth a warning since" same "" \
	journalctl -q -o cat -u millgate -p warning --since="$since"
