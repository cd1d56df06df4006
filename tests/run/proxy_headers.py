"""Headers of the PROXY protocol, as load balancers send them."""

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXY, LOCAL = 0x21, 0x20
TCP4, TCP6, UNSPEC = 0x11, 0x21, 0x00
CLIENT, WANTED = ("192.0.2.7", 40000), ("198.51.100.1", 443)
CLIENT6, WANTED6 = ("2001:db8::7", 40000), ("2001:db8::1", 443)


def line(source=CLIENT, destination=WANTED):
    """A header of version 1."""
    family = "TCP6" if ":" in source[0] else "TCP4"
    return f"PROXY {family} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()


def binary(source=CLIENT, destination=WANTED, more=b""):
    """A header of version 2; `more` are TLVs."""
    family = TCP6 if ":" in source[0] else TCP4
    body = b"".join(ipaddress.ip_address(host).packed for host, _ in (source, destination))
    body += struct.pack(">HH", source[1], destination[1]) + more
    return SIGNATURE + struct.pack(">BBH", PROXY, family, len(body)) + body


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value
