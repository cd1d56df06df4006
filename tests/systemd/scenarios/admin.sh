# Who may steer: root, and who is in the group millgate.
check "the packages install" install_debs ./debs/*.deb
useradd --groups millgate member
useradd stranger
check "the admin socket is of root and the group" same "root millgate 660 socket" \
	stat -c '%U %G %a %F' "$ADMIN"
check "asking on the admin socket starts the service" says "^millgate .* is " millgatectl status
check "it becomes well" eventually millgatectl health
check "the running service did not change the socket" same "millgate 660 socket" \
	stat -c '%G %a %F' "$ADMIN"
check "a user of the group may look" runuser -u member millgatectl health
check "a user of the group may steer" runuser -u member millgatectl drain
check "... and systemd shows it" eventually says 'Status: "Draining' systemctl status millgate
check "a user of the group may steer back" runuser -u member millgatectl resume
check "another user may not" not runuser -u stranger millgatectl health
check "... and is told why" says '[Pp]ermission denied' runuser -u stranger millgatectl health
check "the service may not change the configuration" \
	not runuser -u millgate -- sh -c ": >>$CONF"
