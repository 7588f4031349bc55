"""A plain fast file server for measurements: `python -m tests.download.file_server DIR`.

Prints its port. The kernel copies from file to socket, so that the server costs as little as it can
beside the client that is measured.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path


def serve(folder: Path) -> None:
    """Answer requests for ever; files by name, 404 for everything else."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection, folder), daemon=True).start()


def _answer(connection: socket.socket, folder: Path) -> None:
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            data = connection.recv(65536)
            if not data:
                return
            request += data
        path = folder / Path(request.split(b" ")[1].decode()).name
        if not path.is_file():
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = f'HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nETag: "{size}"\r\n\r\n'
            connection.sendall(head.encode())
            sent = 0
            while sent < size:
                sent += os.sendfile(connection.fileno(), file.fileno(), sent, size - sent)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
