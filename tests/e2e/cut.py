"""A TCP relay that can be cut, so that one process loses another that goes on: nothing arrives, and nobody is told."""

import select
import socket
import threading
from contextlib import suppress

PIECE_BYTES = 65_536


class Relay:
    """Passes connections of a free port on to another port, until it is cut; what is on its way then is lost."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_cut = threading.Event()
        self._is_closed = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        self._is_cut.set()

    def mend(self) -> None:
        self._is_cut.clear()

    def close(self) -> None:
        self._is_closed.set()
        self._listener.close()

    def _accept(self) -> None:
        self._listener.settimeout(0.2)
        while not self._is_closed.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            thread = threading.Thread(target=self._pass, args=(client,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _pass(self, client: socket.socket) -> None:
        # Cut, a connection is accepted by the kernel, and nothing else happens.
        while self._is_cut.is_set() and not self._is_closed.wait(0.1):
            pass
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target_port)) as server:
            other = {client: server, server: client}
            was_cut = False
            while not self._is_closed.is_set():
                ready, _, _ = select.select(list(other), [], [], 0.1)
                was_cut = was_cut or self._is_cut.is_set()
                if was_cut and not self._is_cut.is_set():
                    return  # Mended: what was lost in between stays lost, so this connection is of no use.
                for source in ready if not was_cut else []:
                    data = source.recv(PIECE_BYTES)
                    if not data:
                        return
                    other[source].sendall(data)
                if was_cut:
                    self._is_closed.wait(0.1)
