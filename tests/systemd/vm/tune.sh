# Advice is taken: tune finds what the kernel as it comes has too little of, and what it says mends it.

# The settings that tune is not content with.
short_settings() {
	millgatectl tune | sed -nE 's/^(short|harmful|unknown) +([^ ]+) .*/\2/p' | sort -u
}

install_debs ./debs/*.deb
configure '"workers": 1'
# As the kernel comes, but for fs.*, of which it has plenty.
sysctl -q fs.file-max=60000 fs.epoll.max_user_watches=50000
sysctl -a 2>/dev/null | grep -E '^(fs|net\.core|net\.ipv4\.tcp)[a-z_.]+ = ' >stock.conf
check "it starts" systemctl start millgate
check "it becomes well" eventually millgatectl health
for setting in fs.file-max fs.epoll.max_user_watches net.ipv4.tcp_max_orphans; do
	check "tune finds $setting" says "^$setting\$" short_settings
	check "the journal tells of $setting" says "tuning: $setting is" journalctl -u millgate
done
check "tune fails, therefore" not millgatectl tune
check "tune --apply mends all of it" millgatectl tune --apply
check "tune is content" millgatectl tune
check "... with every setting" same "" short_settings
check "there is nothing left to apply" says '^There is nothing to set' millgatectl tune --apply
systemctl restart millgate
check "after a restart it has nothing to say" same "" \
	journalctl -q -o cat -p warning "_SYSTEMD_INVOCATION_ID=$(property InvocationID)"

sysctl -q -p stock.conf >/dev/null 2>&1
check "with the kernel as it was tune fails again" not millgatectl tune
millgatectl tune --sysctl >/etc/sysctl.d/60-millgate.conf
check "the file that tune makes is taken by sysctl" sysctl --system
check "... and is as good" millgatectl tune
