# Thousands of connections outlive restarts, an upgrade of the package, and a supervisor that is killed.
N=3000

restored() {
	millgatectl stats | sed -n 's/^metrics.connections_restored_total //p'
}

install_debs ./debs/*.deb
configure '"workers": 3'
millgate-bench --connections $N --processes 1 --source 127.1.0.0/16 --hold --quiet \
	--ready-file ready --json 127.0.0.1:7000 >bench.json &
bench=$!
check "all come up" eventually test -s ready
check "... and none failed" same "up $N failed 0" cat ready
check "they are counted" eventually same $N connections
ids=$(millgatectl --json list --limit 0 | grep -o '"id": *[0-9]*' | sort)

for count in 1 2 3; do
	pid=$(main_pid)
	check "restart $count" systemctl restart millgate
	check "... by another process" not same "$pid" main_pid
	check "... all are held" same $N connections
	check "... as they were taken up" same $((count * N)) restored
done
check "systemd keeps none of them twice" same 0 property NFileDescriptorStore

systemctl kill --kill-who=main --signal=KILL millgate
check "a killed supervisor is started again" eventually same 1 property NRestarts
check "... with all" eventually same $((4 * N)) restored

pid=$(main_pid)
check "an upgrade without systemd" millgatectl upgrade
check "... of the same process" same "$pid" main_pid
check "... with all" eventually same $((5 * N)) restored
check "... is active" eventually is active

check "a reload" systemctl reload millgate
check "all are held" same $N connections
check "their ids are what they were" same "$ids" \
	sh -c "millgatectl --json list --limit 0 | grep -o '\"id\": *[0-9]*' | sort"

echo '{ "workres": 1 }' >bad.json
cp "$CONF" good.json
cp bad.json "$CONF"
check "a restart with a bad configuration fails" not systemctl restart millgate
check "... and is tried again" eventually says '^[2-9]' property NRestarts
cp good.json "$CONF"
check "... until it is mended" eventually is active
check "... all are held" eventually same $N connections

read -r worker _ < <(workers | paste -sd' ')
kill -KILL "$worker"
check "a killed worker loses its own" eventually same $((N * 2 / 3)) connections
check "... and is replaced" eventually millgatectl health
check "a restart" systemctl restart millgate
check "... loses none" same $((N * 2 / 3)) connections

kill -INT $bench
wait $bench
check "the clients have noticed just that" says "\"lost\": *$((N / 3))" cat bench.json
