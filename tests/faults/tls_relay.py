"""Speaks TLS in front of a server that does not: tls_relay.py CERTIFICATE KEY PORT. Prints the port on which it listens,
and ends when its input does."""

import os
import socket
import ssl
import sys
import threading


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def relay(connection, context, port):
    try:
        outside = context.wrap_socket(connection, server_side=True)
    except OSError:
        return
    inside = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=copy, args=(outside, inside), daemon=True).start()
    copy(inside, outside)


def main():
    certificate, key, port = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=relay, args=(connection, context, int(port)), daemon=True).start()


main()
