# A relay, with all that the unit forbids: by address, by name and to a Unix socket, and over restarts.
install_debs ./debs/*.deb
echo "127.0.0.1 app.example" >>/etc/hosts
# The application behind it is another millgated, which sends back what it gets.
cat >/root/application.json <<'CONF'
{
    "workers": 1,
    "listeners": {
        "tcp": { "address": "127.0.0.1:8080", "service": "echo" },
        "unix": { "address": "unix:/run/app.sock", "service": "echo" }
    },
    "sysctl": { "mode": "off" }
}
CONF
millgated --config /root/application.json >application.log 2>&1 &
cat >"$CONF" <<'CONF'
{
    "workers": 2,
    "listeners": {
        "public": {
            "service": "relay",
            "upstream": {
                "servers": ["127.0.0.1:8080", "app.example:8080", "unix:/run/app.sock"],
                "balance": "round_robin",
                "health": { "interval": "200ms", "timeout": "200ms" }
            }
        }
    }
}
CONF
# answers FD WORD: the server behind it sends back what it gets.
answers() {
	local line
	echo "$2" >&"$1"
	IFS= read -r -t 20 -u "$1" line
	same "$2" echo "$line"
}
servers_up() {
	millgatectl upstreams | grep -c ' up '
}
check "the configuration is good" millgated --check "$CONF"
connect
first=$client
check "the first client is served" answers "$first" hello
check "all servers are up" eventually same 3 servers_up
connect
second=$client
connect
third=$client
check "so is one by name" answers "$second" hello
check "so is one by a Unix socket" answers "$third" hello
check "each server has one" same "1 1 1" sh -c \
	"millgatectl --json upstreams | grep -o '\"connections\": [0-9]*' | cut -d' ' -f2 | xargs"
check "it restarts" systemctl restart millgate
check "nobody was lost" same 3 connections
for fd in "$first" "$second" "$third"; do
	check "a client is served on" answers "$fd" again
done
check "the supervisor is killed" kill -KILL "$(main_pid)"
check "it comes back" eventually is active
check "nobody was lost" eventually same 3 connections
for fd in "$first" "$second" "$third"; do
	check "a client is served on" answers "$fd" and-again
done
