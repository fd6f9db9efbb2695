"""The life of an API key with what a generator makes of openapi.yaml. docs/clients.md names the variables.

pip install openapi-python-client attrs httpx botocore
openapi-python-client generate --path openapi.yaml --meta none --output-path gaia_client

Such a client knows the types, but can't sign or repeat requests: pass it an HTTP client that does.
"""

import os
import time
import uuid

import httpx
from gaia_client import Client
from gaia_client.api.checks import verify_api_key
from gaia_client.api.keys import create_api_key, delete_api_key, get_api_key, list_api_keys, rotate_api_key, update_api_key
from gaia_client.models import (
    Config, ConfigBody, Created, Deleted, KeyDetails, NotValid, Permission, RotateBody, Rotated, Updated, Valid, VerifyRequest,
)
from sigv4 import SigV4

API = os.environ["API"]


class Retries(httpx.HTTPTransport):
    """Sends a request again after a 429, a 503 or a lost connection: creates and rotations need an Idempotency-Key."""

    def handle_request(self, request):
        for pause in (0.2, 0.5, 1):
            try:
                response = super().handle_request(request)
                if response.status_code not in (429, 503):
                    return response
                response.close()
            except httpx.TransportError:
                pass
            time.sleep(pause)
        return super().handle_request(request)


def expect(kind, response):
    if not isinstance(response, kind):  # Error, Invalid or GatewayError: what is wrong
        raise RuntimeError(response)
    return response


def once():
    """A new value for each key that you want; repeated requests send the same one."""
    return str(uuid.uuid4())


def update(client, key_id, **fields):
    """Changes fields of a config. PUT replaces the whole config: If-Match keeps what others changed meanwhile."""
    for _ in range(5):
        found = expect(KeyDetails, get_api_key.sync(key_id, client=client))
        config = found.config.to_dict() | fields
        if config == found.config.to_dict():  # also if only the response to an earlier attempt was lost
            return "updated"
        body = ConfigBody(config=Config.from_dict(config))
        response = update_api_key.sync_detailed(key_id, client=client, body=body, if_match=found.etag)
        if response.status_code != 412:
            return expect(Updated, response.parsed).result
    raise RuntimeError("PUT: others change the key all the time")


def delete(client, key_id):
    """A repeated delete gets a 404, because the key is gone."""
    response = delete_api_key.sync_detailed(key_id, client=client)
    if response.status_code != 404:
        expect(Deleted, response.parsed)
    return "deleted"


origin = API.removesuffix("/es/api/v1/credentials/api_keys")  # the generated paths begin with /es
options = {"auth": SigV4(), "transport": Retries()}
with Client(base_url=origin, timeout=httpx.Timeout(30), httpx_args=options) as client:
    body = ConfigBody(config=Config(permissions=Permission.READ))
    body.config["name"] = "reports"  # a field of your own
    key = expect(Created, create_api_key.sync(client=client, body=body, idempotency_key=once())).api_key
    key_id = key[:31]  # not a secret: it stands for the key in paths
    print(len(expect(list, list_api_keys.sync(client=client, limit=100))))  # details=True: KeyDetails in place of ListedKey
    print(update(client, key_id, permissions="write"))
    body = VerifyRequest(api_key=key, route="POST /items")
    print(expect((Valid, NotValid), verify_api_key.sync(client=client, body=body)).valid)
    used = expect(KeyDetails, get_api_key.sync(key_id, client=client)).last_used_at
    print(f"{used:%Y-%m-%dT%H:%M:%SZ}" if used else "never")
    body = RotateBody(grace_seconds=3600)
    rotated = expect(Rotated, rotate_api_key.sync(key_id, client=client, body=body, idempotency_key=once()))
    print(rotated.result)
    for old_or_new in (key_id, rotated.api_key[:31]):
        print(delete(client, old_or_new))
