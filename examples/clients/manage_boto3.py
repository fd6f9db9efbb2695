"""The life of an API key with boto3 alone: `pip install boto3`. docs/clients.md names the variables."""

import json
import os
import random
import time
import uuid

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session

API = os.environ["API"]
session = boto3.Session(region_name=os.environ["AWS_REGION"])  # profile_name="…" for a profile
http = URLLib3Session(timeout=30)


class Changed(RuntimeError):
    """Somebody changed the key after it was read."""


def call(method, path, body=None, **headers):
    """Sends a request again after a 429, a 503 or a lost connection: creates and rotations need an Idempotency-Key."""
    headers |= {"content-type": "application/json"}
    data = None if body is None else json.dumps(body)
    for attempt in range(4):
        time.sleep(random.uniform(0, 0.2 * 2**attempt) if attempt else 0)
        request = AWSRequest(method, API + path, headers=headers, data=data)
        SigV4Auth(session.get_credentials().get_frozen_credentials(), "execute-api", session.region_name).add_auth(request)
        try:
            response = http.send(request.prepare())
        except HTTPClientError as error:
            problem = type(error).__name__  # its text may hold the path, and the path a key
            continue
        if response.status_code == 200:
            return json.loads(response.text)
        if response.status_code == 404 and method == "DELETE" and attempt:
            return {"result": "deleted"}  # by an attempt whose response was lost
        if response.status_code == 412:
            raise Changed
        problem = f"{response.status_code} {response.text}"
        if response.status_code not in (429, 503):
            break
    raise RuntimeError(f"{method}: {problem}")


def once():
    """A new value for each key that you want; repeated requests send the same one."""
    return {"Idempotency-Key": str(uuid.uuid4())}


def update(key_id, **fields):
    """Changes fields of a config. PUT replaces the whole config: If-Match keeps what others changed meanwhile."""
    for _ in range(5):
        found = call("GET", f"/{key_id}")
        config = found["config"] | fields
        if config == found["config"]:  # also if only the response to an earlier attempt was lost
            return {"result": "updated"}
        try:
            return call("PUT", f"/{key_id}", {"config": config}, **{"If-Match": found["etag"]})
        except Changed:
            continue
    raise RuntimeError("PUT: others change the key all the time")


key = call("POST", "/", {"config": {"permissions": "read", "name": "reports"}}, **once())["api_key"]
key_id = key[:31]  # not a secret: it stands for the key in paths
print(len(call("GET", "/?limit=100")))
print(update(key_id, permissions="write")["result"])
print(call("POST", "/verify", {"api_key": key, "route": "POST /items"})["valid"])
print(call("GET", f"/{key_id}")["last_used_at"])
rotated = call("POST", f"/{key_id}/rotate", {"grace_seconds": 3600}, **once())
print(rotated["result"])
for old_or_new in (key_id, rotated["api_key"][:31]):
    print(call("DELETE", f"/delete/{old_or_new}")["result"])
