"""What the scripted server knows of the way to it: Unix sockets, where the client comes from, what TLS agreed on."""

import itertools
import socket

from script import Failed, mismatch

numbers = itertools.count()


class NetworkSteps:
    """Beside Server. `path`: a Unix socket instead of a port."""

    def __init__(self, script, *, path=None, **options):
        self.path = path
        super().__init__(script, **options)

    def listen(self):
        if not self.path:
            return super().listen()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(16)

    def accepted(self):
        """A Unix socket takes none of TCP's options."""
        if not self.path:
            super().accepted()

    def do_peer(self, step):
        """peer address=IP: where the client's connection comes from."""
        wrong = mismatch({"address": self.connection.getpeername()[0]}, step.pairs)
        if wrong:
            raise Failed(f"peer: {wrong}")

    def do_resumed(self, step):
        """resumed yes|no: whether this TLS connection goes on with the session of an earlier one."""
        reused = "yes" if self.connection.session_reused else "no"
        if reused != step.arg(0):
            raise Failed(f"resumed: {reused}")


def unix_path(folder):
    return f"{folder}/{next(numbers)}.sock"
