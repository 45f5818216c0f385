"""Requests that are signed as AWS's clients do, and can then be tampered with."""

import json

import requests
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.log import keep_secret
from support.server import REGION

TARGET = "AmazonEC2ContainerRegistry_V20150921"


class ShiftedAuth(SigV4Auth):
    """Signs for another time than now."""

    def __init__(self, *arguments, when):
        super().__init__(*arguments)
        self.when = when

    def add_auth(self, request):
        request.context["timestamp"] = self.when.strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)
        signature = self.signature(
            self.string_to_sign(request, self.canonical_request(request)), request
        )
        self._inject_signature_to_request(request, signature)


class QueryAuth(SigV4QueryAuth):
    """Signs in the query and leaves the body where it is; botocore would move it there too."""

    def _modify_request_before_signing(self, request):
        data, request.data = request.data, None
        super()._modify_request_before_signing(request)
        request.data = data


def request(server, operation, body=None, *, target=TARGET, data=None):
    """An unsigned request for an operation of the API."""
    data = json.dumps({} if body is None else body).encode() if data is None else data
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"{target}.{operation}",
        "Host": server.host,
    }
    return AWSRequest("POST", server.url + "/", data=data, headers=headers)


def sign(server, made, *, key=None, secret=None, service="ecr", region=REGION, when=None):
    """Signs it with the credentials of the main account's root, or the given ones."""
    own_key, own_secret = server.credentials()
    credentials = Credentials(key or own_key, secret or own_secret)
    if when:
        ShiftedAuth(credentials, service, region, when=when).add_auth(made)
    else:
        SigV4Auth(credentials, service, region).add_auth(made)
    return made


def presign(server, made, expires=60, service="ecr", region=REGION):
    """Signs it in its query."""
    QueryAuth(Credentials(*server.credentials()), service, region, expires=expires).add_auth(made)
    keep_secret(made.url.split("X-Amz-Signature=")[1])
    return made


def send(made):
    """Sends a request as it is and returns the answer."""
    session = requests.Session()
    session.trust_env = False
    return session.request(
        made.method, made.url, data=made.data, headers=dict(made.headers.items()), timeout=60
    )


def code(answer):
    """The exception's name in an answer of the API."""
    return answer.json()["__type"]
