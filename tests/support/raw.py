"""Connections without a client library: what is sent is what is written, as slowly as wanted."""

import base64
import contextlib
import hashlib
import json
import socket
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.log import keep_secret
from support.server import ACCOUNT, REGION
from support.signed import TARGET

# So that a broken server ends the test; it measures nothing.
PATIENCE = 120


class Raw:
    """One TCP connection to a server."""

    def __init__(self, server, receive_buffer=None):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", server.port))
        self.host = server.host
        self.unread = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        """Sends bytes. Returns False if the server has hung up."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def head(self, method, target, headers=()):
        """Sends the head of a request. `headers` may have a name twice, as pairs."""
        pairs = headers.items() if isinstance(headers, dict) else headers
        lines = [f"{method} {target} HTTP/1.1"]
        if not any(name.lower() == "host" for name, _ in pairs):
            lines.append(f"Host: {self.host}")
        lines += [f"{name}: {value}" for name, value in pairs]
        return self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def answer(self):
        """Reads one answer: (status, headers with names in lower case, body). None: hung up."""
        while b"\r\n\r\n" not in self.unread:
            if not self.receive():
                return None
        head, _, self.unread = self.unread.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ", 2)[1])
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        while len(self.unread) < length:
            if not self.receive():
                break
        body, self.unread = self.unread[:length], self.unread[length:]
        return status, headers, body

    def receive(self):
        with contextlib.suppress(ConnectionResetError):
            data = self.socket.recv(65536)
            self.unread += data
            return bool(data)
        return False

    def rest(self):
        """Waits until the server hangs up, and returns what it said until then."""
        while self.receive():
            pass
        return self.unread

    def request(self, method, target, headers=(), body=b""):
        """A whole request and its answer."""
        pairs = list(headers.items() if isinstance(headers, dict) else headers)
        self.head(method, target, [*pairs, ("Content-Length", len(body))])
        self.send(body)
        return self.answer()


class Http2(Raw):
    """A connection of HTTP/2 without TLS, of which the frames are written by hand.

    Its answers are not decoded: `frames` gives them as (type, flags, stream, payload).
    """

    DATA, HEADERS, RESET, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
    END_STREAM, END_HEADERS = 1, 4
    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    def __init__(self, server):
        super().__init__(server)
        self.send(self.PREFACE + self.frame(self.SETTINGS, 0, 0, b""))

    @staticmethod
    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload

    def head_frame(self, stream, method, path, headers=(), flags=END_HEADERS):
        """HEADERS with all fields as literals that no table remembers (RFC 7541, 6.2.2)."""
        fields = [(":method", method), (":scheme", "http"), (":path", path)]
        fields += [(":authority", self.host), *headers]
        return self.frame(self.HEADERS, flags, stream, b"".join(literal(*it) for it in fields))

    def frames(self):
        """Every frame that comes, until the server hangs up."""
        while True:
            while len(self.unread) < 9 or len(self.unread) < 9 + int.from_bytes(self.unread[:3]):
                if not self.receive():
                    return
            end = 9 + int.from_bytes(self.unread[:3])
            head, payload, self.unread = self.unread[:9], self.unread[9:end], self.unread[end:]
            yield head[3], head[4], int.from_bytes(head[5:9]), payload

    def until_answered(self):
        """The frames until the first that ends a stream, or the connection."""
        ends = (self.RESET, self.GOAWAY)
        for frame in self.frames():
            yield frame
            kind, flags, _, _ = frame
            if kind in ends or (kind in (self.DATA, self.HEADERS) and flags & self.END_STREAM):
                return

    def wait_for_goodbye(self):
        """Reads on until the server ends the connection, by GOAWAY or by hanging up."""
        for kind, _, _, _ in self.frames():
            if kind == self.GOAWAY:
                return

    @staticmethod
    def header(name, value):
        return literal(name, value)


def literal(name, value):
    """A header field of HPACK, neither indexed nor compressed."""
    name, value = name.encode(), str(value).encode()
    return b"\0" + hpack_number(len(name)) + name + hpack_number(len(value)) + value


def hpack_number(number):
    """A number with a prefix of seven bits (RFC 7541, 5.1)."""
    if number < 127:
        return bytes((number,))
    more, number = bytearray((127,)), number - 127
    while number >= 128:
        more.append(number % 128 + 128)
        number //= 128
    return bytes(more) + bytes((number,))


def statuses(said):
    """The status codes of all answers in what a server said, one after the other."""
    parts = said.split(b"HTTP/1.1 ")[1:]
    return [int(part[:3]) for part in parts]


def basic(password, user="AWS"):
    """The Authorization header of a password."""
    return "Basic " + keep_secret(base64.b64encode(f"{user}:{password}".encode()).decode())


class HashedAuth(SigV4Auth):
    """Signs for a body that it is told the hash of."""

    def __init__(self, credentials, body_sha256):
        super().__init__(credentials, "ecr", REGION)
        self.body_sha256 = body_sha256

    def payload(self, request):
        return self.body_sha256


def signed_head(server, operation, length, body_sha256, *, account=ACCOUNT, secret=None):
    """The headers of a signed call, for a body of this length and hash."""
    key, own_secret = server.credentials(account)
    made = AWSRequest(
        "POST",
        server.url + "/",
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"{TARGET}.{operation}",
            "Host": server.host,
        },
    )
    HashedAuth(Credentials(key, secret or own_secret), body_sha256).add_auth(made)
    return {**dict(made.headers.items()), "Content-Length": str(length)}


def call(connection, server, operation, data, **options):
    """A signed call with bytes or a document for a body, and its answer."""
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    headers = signed_head(server, operation, len(data), hashlib.sha256(data).hexdigest(), **options)
    connection.head("POST", "/", headers)
    connection.send(data)
    return connection.answer()


def peak(server):
    """The most memory that a server's process has had in RAM so far, bytes."""
    return of_process(server, "VmHWM")


def memory(server):
    """What it has in RAM now, bytes."""
    return of_process(server, "VmRSS")


def of_process(server, name):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
