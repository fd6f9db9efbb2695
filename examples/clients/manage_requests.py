"""The life of an API key with requests: `pip install requests botocore`. docs/clients.md names the variables."""

import os
import uuid

import botocore.auth
import botocore.awsrequest
import botocore.session
import requests
import urllib3

API = os.environ["API"]


class SigV4(requests.auth.AuthBase):
    """Signs with the credentials that botocore finds: variables, profile, role."""

    def __init__(self):
        self.credentials = botocore.session.Session().get_credentials()

    def __call__(self, request):
        signer = botocore.auth.SigV4Auth(self.credentials.get_frozen_credentials(), "execute-api", os.environ["AWS_REGION"])
        signed = botocore.awsrequest.AWSRequest(request.method, request.url, data=request.body)
        signer.add_auth(signed)
        request.headers.update(signed.headers)
        return request


http = requests.Session()
http.auth = SigV4()
# After a 429, a 503 or a lost connection. Every request below may be repeated, because creates and rotations have an
# Idempotency-Key.
retries = urllib3.Retry(3, status_forcelist=[429, 503], backoff_factor=0.2, allowed_methods=None, raise_on_status=False)
http.mount(API, requests.adapters.HTTPAdapter(max_retries=retries))


class Changed(RuntimeError):
    """Somebody changed the key after it was read."""


def call(method, path, body=None, **headers):
    response = http.request(method, API + path, json=body, headers=headers, timeout=30)
    if response.status_code == 412:
        raise Changed
    if not response.ok:  # the response says what is wrong; the path may hold a key
        raise RuntimeError(f"{method}: {response.status_code} {response.text}")
    return response


def once():
    """A new value for each key that you want; repeated requests send the same one."""
    return {"Idempotency-Key": str(uuid.uuid4())}


def keys():
    """All keys, page by page. The next page's address is relative."""
    path = "/"
    while path:
        response = call("GET", path)
        yield from response.json()
        path = "/" + response.links["next"]["url"] if "next" in response.links else None


def update(key_id, **fields):
    """Changes fields of a config. PUT replaces the whole config: If-Match keeps what others changed meanwhile."""
    for _ in range(5):
        found = call("GET", f"/{key_id}").json()
        config = found["config"] | fields
        if config == found["config"]:  # also if only the response to an earlier attempt was lost
            return "updated"
        try:
            return call("PUT", f"/{key_id}", {"config": config}, **{"If-Match": found["etag"]}).json()["result"]
        except Changed:
            continue
    raise RuntimeError("PUT: others change the key all the time")


def delete(key_id):
    response = http.delete(f"{API}/delete/{key_id}", timeout=30)
    # A repeated delete gets a 404, because the key is gone.
    if not response.ok and not (response.status_code == 404 and response.raw.retries.history):
        raise RuntimeError(f"DELETE: {response.status_code} {response.text}")
    return "deleted"


key = call("POST", "/", {"config": {"permissions": "read", "name": "reports"}}, **once()).json()["api_key"]
key_id = key[:31]  # not a secret: it stands for the key in paths
print(sum(1 for _ in keys()))
print(update(key_id, permissions="write"))
print(call("POST", "/verify", {"api_key": key, "route": "POST /items"}).json()["valid"])
print(call("GET", f"/{key_id}").json()["last_used_at"])
rotated = call("POST", f"/{key_id}/rotate", {"grace_seconds": 3600}, **once()).json()
print(rotated["result"])
for old_or_new in (key_id, rotated["api_key"][:31]):
    print(delete(old_or_new))
