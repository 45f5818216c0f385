"""The `/v2/` plane by plain requests: nothing that a client library would put right."""

import base64
import http.client
import socket
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

import requests

from support.images import ALL_TYPES, digest


class V2:
    """One caller of a registry's `/v2/`. `password` None sends no credentials."""

    def __init__(self, url, password=None, host=None, verify=True):
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = verify
        if password:
            self.session.auth = ("AWS", password)
        if host:
            self.session.headers["Host"] = host

    def request(self, method, path, **options):
        """A request to a path, or to a `Location` that was answered. Follows no redirect."""
        options.setdefault("allow_redirects", False)
        options.setdefault("timeout", 120)
        return self.session.request(method, urljoin(self.url, path), **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def head(self, path, **options):
        return self.request("HEAD", path, **options)

    def put(self, path, **options):
        return self.request("PUT", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def patch(self, path, **options):
        return self.request("PATCH", path, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)

    # --- blobs

    def start_upload(self, repository, **parameters):
        """Begins an upload and returns where it goes on."""
        answer = self.post(f"/v2/{repository}/blobs/uploads/", params=parameters)
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    def append(self, location, data, start=None):
        """Appends to an upload, with Content-Range if `start` is given."""
        headers = {"Content-Type": "application/octet-stream"}
        if start is not None:
            headers["Content-Range"] = f"{start}-{start + len(data) - 1}"
        return self.patch(location, data=data, headers=headers)

    def finish(self, location, blob_digest, data=b""):
        """Ends an upload with its digest, and perhaps its last bytes."""
        return self.put(with_query(location, "digest", blob_digest), data=data)

    def push_blob(self, repository, data, algorithm="sha256"):
        """Pushes a blob in two requests and returns its digest."""
        wanted = digest(data, algorithm)
        answer = self.finish(self.start_upload(repository), wanted, data)
        assert answer.status_code == 201, answer.text
        return wanted

    # --- manifests

    def put_manifest(self, repository, reference, image, **options):
        headers = {"Content-Type": image.media_type, **options.pop("headers", {})}
        return self.put(
            f"/v2/{repository}/manifests/{reference}",
            data=image.manifest,
            headers=headers,
            **options,
        )

    def get_manifest(self, repository, reference, accept=ALL_TYPES, method="GET"):
        return self.request(
            method, f"/v2/{repository}/manifests/{reference}", headers={"Accept": ", ".join(accept)}
        )

    def push(self, repository, image, reference=None):
        """Pushes all of an image: blobs, children, then the manifest by tag or digest."""
        for child in image.children:
            self.push(repository, child)
        for blob in image.blobs:
            self.push_blob(repository, blob.data, blob.algorithm)
        answer = self.put_manifest(repository, reference or image.digest, image)
        assert answer.status_code == 201, answer.text
        return answer


def with_query(location, name, value):
    """A location with one more query parameter."""
    return f"{location}{'&' if urlsplit(location).query else '?'}{name}={value}"


def error_code(answer):
    """The code of the first error of a `/v2/` answer."""
    return answer.json()["errors"][0]["code"]


def raw(url, method, target, headers=None, body=None):
    """A request whose target is sent as it is written. Answers (status, headers, body)."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    try:
        own_host = "Host" in (headers or {})
        connection.putrequest(method, target, skip_host=own_host, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def send_and_leave(url, password, method, path, headers, body):
    """Sends a whole request and closes the connection before the answer.

    What becomes of it is in doubt, also if the server is gone by then.
    """
    address = urlsplit(url)
    login = base64.b64encode(f"AWS:{password}".encode()).decode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Authorization: Basic {login}", f"Content-Length: {len(body)}", "", ""]
    place = (address.hostname, address.port)
    with suppress(ConnectionError), socket.create_connection(place, timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
