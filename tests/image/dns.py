"""A name server for one name: answers A queries for it on 127.0.0.1:53, and says of all else that it does not exist.

It ends when its standard input does.
"""

import socket
import sys
import threading

NAME, ADDRESS = sys.argv[1], sys.argv[2]
TYPE_A, CLASS_IN = 1, 1
# Flags of RFC 1035 section 4.1.1: a response, authoritative; and the same with the code that there is no such name.
FOUND, NO_SUCH_NAME = 0x8400, 0x8403


def question(query):
    """The name that is asked for, its type, and the bytes of the question (RFC 1035 section 4.1.2)."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(labels), int.from_bytes(query[at + 1 : at + 3], "big"), query[12 : at + 5]


def answer(query):
    name, kind, asked = question(query)
    is_known = name.lower() == NAME
    found = b""
    if is_known and kind == TYPE_A:
        # The name is a pointer to the question's; five seconds to live; four bytes of address.
        found = b"\xc0\x0c" + TYPE_A.to_bytes(2, "big") + CLASS_IN.to_bytes(2, "big") + (5).to_bytes(4, "big")
        found += (4).to_bytes(2, "big") + socket.inet_aton(ADDRESS)
    flags = FOUND if is_known else NO_SUCH_NAME
    counts = [1, 1 if found else 0, 0, 0]
    head = query[:2] + flags.to_bytes(2, "big") + b"".join(count.to_bytes(2, "big") for count in counts)
    return head + asked + found


def serve(server):
    while True:
        query, client = server.recvfrom(512)
        server.sendto(answer(query), client)


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
threading.Thread(target=serve, args=[server], daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
