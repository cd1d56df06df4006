"""What a worker has parked, taken apart and put together again: src/parkfile.h."""

import fcntl
import json
import os
import struct

HEAD = struct.Struct("<8sIIQQQQQQQ")
RECORD = struct.Struct("<QQQQQIIBxH16sBBBB16sHBBIBxH16sII4x")
FIELDS = (
    *("id", "cookie", "opened_usec", "active_usec", "waiting", "out_bytes", "in_bytes"),
    *("family", "port", "address", "listener", "state", "flags", "reason", "proto"),
    *("server", "tries", "more_flags", "watched", "to_family", "to_port", "to_address"),
    *("fd", "generation"),
)
OPEN, CLOSING, HANDSHAKE, PROXY, CONNECTING = range(5)  # state
HELD, EOF, UPSTREAM, LINKED = 16, 32, 64, 128  # flags
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def checksum(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


class Parkfile:
    """Its facts, its records as dicts, and the bytes that waited."""

    def __init__(self, data):
        _, _, size, _, facts, n_facts, records, n_records, waiting, n_waiting = HEAD.unpack_from(
            data
        )
        assert size == RECORD.size
        self.facts = json.loads(data[facts : facts + n_facts])
        self.records = [
            dict(zip(FIELDS, RECORD.unpack_from(data, records + i * size)))
            for i in range(n_records)
        ]
        self.waiting = data[waiting : waiting + n_waiting]

    def keep_input(self, record, data):
        """As if this were of a message of which the rest has not come."""
        record["waiting"], record["in_bytes"] = len(self.waiting), len(data)
        self.waiting += data

    def pack(self):
        facts = json.dumps(self.facts).encode()
        records = b"".join(
            RECORD.pack(*(record[field] for field in FIELDS)) for record in self.records
        )
        parts = [facts, records, self.waiting]
        head, at = [], HEAD.size
        for part, count in zip(parts, (len(facts), len(self.records), len(self.waiting))):
            head += [at, count]
            at += len(part)
        body = b"".join(parts)
        return HEAD.pack(b"millgate", 1, RECORD.size, checksum(body), *head) + body


def memory_file(data, seal=True):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seal:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def stored_bytes(keeper, name):
    fd = next(fd for key, fd in keeper.store if key == name)
    return os.pread(fd, os.fstat(fd).st_size, 0)
