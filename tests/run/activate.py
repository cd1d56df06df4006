"""
activate.py [FD ...] -- COMMAND ...: runs a command as systemd would, with these descriptors as 3,
4 and so on. What else systemd says (LISTEN_FDS, LISTEN_FDNAMES, WATCHDOG_USEC) is in the
environment already; which process it is meant for is not known before.
"""

import fcntl
import os
import sys

FIRST = 3  # SD_LISTEN_FDS_START


def main():
    split = sys.argv.index("--")
    passed = [int(word) for word in sys.argv[1:split]]
    above = max([*passed, FIRST + len(passed)]) + 1
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD, above) for fd in passed]
    os.closerange(FIRST, above)
    for number, fd in enumerate(aside):
        os.dup2(fd, FIRST + number)
    os.closerange(above, above + len(aside))
    for name in ("LISTEN_PID", "WATCHDOG_PID"):
        os.environ.setdefault(name, str(os.getpid()))
    command = sys.argv[split + 1 :]
    os.execv(command[0], command)


main()
