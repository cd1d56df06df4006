# Ten thousand connections outlive restarts, upgrades, a supervisor that is killed, and starts that fail. A
# tenth of them have an echo, on a listener that millgated binds itself, and compare what comes back.
N=10000
ECHOES=$((N / 10))

restored() {
	millgatectl stats | sed -n 's/^metrics.connections_restored_total //p'
}

# crowd NAME PORT ARGUMENT...: clients until the end, whose report is in NAME.json.
crowd() {
	millgate-bench --processes 1 --source 127.1.0.0/16 --hold --quiet --ready-file "$1.ready" --json \
		--allow-loss "${@:3}" "127.0.0.1:$2" >"$1.json" &
}

install_debs ./debs/*.deb
configure '"workers": 3'
sed -i 's/"listeners": {/& "echo": { "address": "127.0.0.1:7010", "service": "echo" },/' "$CONF"
crowd hold 7000 --connections $((N - ECHOES))
hold=$!
check "all come up" eventually test -s hold.ready
check "... and none failed" same "up $((N - ECHOES)) failed 0" cat hold.ready
crowd echo 7010 --connections $ECHOES --workload echo --rate-echo $ECHOES
echo=$!
check "so do those with an echo" eventually test -s echo.ready
check "... and none failed" same "up $ECHOES failed 0" cat echo.ready
check "they are counted" eventually same $N connections
ids=$(millgatectl --json list --limit 0 | grep -o '"id": *[0-9]*' | sort)

for count in 1 2 3; do
	pid=$(main_pid)
	check "restart $count" systemctl restart millgate
	check "... by another process" not same "$pid" main_pid
	check "... all are held" same $N connections
	check "... as they were taken up" same $((count * N)) restored
done
check "systemd keeps none of them twice" eventually same 1 property NFileDescriptorStore

systemctl kill --kill-who=main --signal=KILL millgate
check "a killed supervisor is started again" eventually same 1 property NRestarts
check "... with all" eventually same $((4 * N)) restored

pid=$(main_pid)
check "an upgrade without systemd" millgatectl upgrade
check "... of the same process" same "$pid" main_pid
check "... with all" eventually same $((5 * N)) restored
check "... is active" eventually is active
check "systemd keeps none of them still" eventually same 1 property NFileDescriptorStore

cp /usr/sbin/millgated millgated.good
printf '#!/bin/sh\n[ "$1" = --check ] || exit 75\n' >millgated.bad
chmod 755 millgated.bad
mv millgated.bad /usr/sbin/millgated
systemctl reset-failed millgate
check "an upgrade to a program that says yes and does not start" millgatectl upgrade
check "... systemd tries it" eventually says '^[1-9]' property NRestarts
mv millgated.good /usr/sbin/millgated
check "... until it is mended" eventually is active
check "... with all" eventually same $N connections

if [ -d debs ]; then # otherwise there is no other package to be had
	rebuild 90.1 >/dev/null
	check "an upgrade of the package" install_debs ./millgate-90.1.deb
	check "... by another process" not same "$pid" main_pid
	check "... with all" eventually same $((7 * N)) restored
fi

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

# As the dynamic loader does it when a library is missing.
mv /usr/sbin/millgated millgated.good
printf '#!/bin/sh\nexit 127\n' >/usr/sbin/millgated
chmod 755 /usr/sbin/millgated
systemctl reset-failed millgate
check "a restart fails when the program does not start at all" not systemctl restart millgate
check "... and is tried again" eventually says '^[2-9]' property NRestarts
mv millgated.good /usr/sbin/millgated
check "... until it does" eventually is active
check "... all are held" eventually same $N connections

kill -INT $echo
wait $echo
check "no client of the echo has noticed anything" says '"lost": *0,' cat echo.json
check "... and no byte was wrong" says '"echo_mismatches": *0,' cat echo.json
left=$((N - ECHOES))
check "they are gone" eventually same $left connections

read -r worker _ < <(workers | paste -sd' ')
before=$(millgatectl --json list --limit 0 --worker 0 | grep -c '"id"')
kill -KILL "$worker"
check "a killed worker loses its own" eventually same $((left - before)) connections
check "... and is replaced" eventually millgatectl health
check "a restart" systemctl restart millgate
check "... loses none" same $((left - before)) connections

kill -INT $hold
wait $hold
check "the others have noticed just that" says "\"lost\": *$before," cat hold.json
