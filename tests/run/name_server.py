"""A DNS server that knows what a test tells it, and can be slow or silent."""

import ipaddress
import socket
import struct
import threading

A, AAAA = 1, 28
NAME_ERROR, SERVER_FAILED = 3, 2
TRUNCATED = 0x0200
FITTING = 28  # IPv4 addresses, in the 512 bytes of RFC 1035


def encode_name(name):
    labels = name.split(".")
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


class NameServer:
    """
    `names` are lists of addresses, to be changed at any time; a name that is not there does not
    exist. `failing`: every answer is an error. `silent`: there is none.
    """

    def __init__(self, **names):
        self.names = {}
        self.asked = []  # names, in the order of the questions
        self.failing = self.silent = False
        self.ttl = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.running = True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        for name, addresses in names.items():
            self.tell(name.replace("_", "."), *addresses)

    @property
    def target(self):
        return "127.0.0.1:%d" % self.socket.getsockname()[1]

    def tell(self, name, *addresses):
        """From now on the name has these."""
        self.names[name] = [ipaddress.ip_address(address) for address in addresses]

    def run(self):
        while self.running:
            try:
                question, client = self.socket.recvfrom(4096)
            except TimeoutError:
                continue
            answer = self.answer(question)
            if not self.silent:
                self.socket.sendto(answer, client)

    def answer(self, question):
        number, flags = struct.unpack(">HH", question[:4])
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode().lower())
            at += 1 + question[at]
        name = ".".join(labels)
        kind = struct.unpack(">H", question[at + 1 : at + 3])[0]
        asked = question[12 : at + 5]
        self.asked.append(name)
        wanted = {A: 4, AAAA: 6}.get(kind)
        known = self.names.get(name, ())
        found = [address for address in known if address.version == wanted]
        code = SERVER_FAILED if self.failing else 0 if name in self.names else NAME_ERROR
        if code:
            found = []
        cut = TRUNCATED if len(found) > FITTING else 0
        found = found[:FITTING]
        flags = 0x8400 | flags & 0x0100 | cut | code
        head = struct.pack(">HHHHHH", number, flags, 1, len(found), 0, 0)
        records = [
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, self.ttl, len(one.packed)) + one.packed
            for one in found
        ]
        return head + asked + b"".join(records)

    def close(self):
        self.running = False
        self.thread.join()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
