"""The management API: signed requests, repeated where that helps, and what its responses mean."""

import os
import re
import urllib.parse
import uuid

import requests
import urllib3

from gaia_keys import lossless
from gaia_keys.errors import Failed, Gone, NoSuchKey, Stopped
from gaia_keys.keys import Key

COLLECTION = "/es/api/v1/credentials/api_keys"
# An ID that no key has: the service checks a config sent to it (422, 413), and then finds no such key (404).
NOBODY = "gaia_00000000000000000000000000"
ATTEMPTS = 6
RETRIED = [429, 500, 502, 503, 504]
# Seconds that one attempt may take.
TIMEOUT = 30
CHECK_URL = "Check that --url is the stack's ApiUrl."
# For everyone who can't sign, and perhaps need not.
UNSIGNED = "or set GAIA_KEYS_AUTH=none for `cargo local`"


class SigV4(requests.auth.AuthBase):
    """Signs with the credentials that botocore finds: variables, profile, role, SSO."""

    def __init__(self, host, profile, region):
        import botocore.session  # takes a third of a second, so only commands that sign wait for it

        session = botocore.session.Session(profile=profile)
        found = re.search(r"\.execute-api\.([a-z0-9-]+)\.", host)
        self.region = region or (found and found[1]) or os.environ.get("AWS_REGION") or session.get_config_variable("region")
        if not self.region:
            raise Stopped(f"cannot determine the AWS Region from the URL, AWS_REGION or the profile; use --region, {UNSIGNED}")
        self.credentials = session.get_credentials()
        if self.credentials is None:
            credentials = "--profile, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise Stopped(f"no AWS credentials; use {credentials}, {UNSIGNED}")

    def __call__(self, request):
        import botocore.auth
        import botocore.awsrequest

        signed = botocore.awsrequest.AWSRequest(request.method, request.url, data=request.body)
        frozen = self.credentials.get_frozen_credentials()
        botocore.auth.SigV4Auth(frozen, "execute-api", self.region).add_auth(signed)
        request.headers.update(signed.headers)
        return request


class Bearer(requests.auth.AuthBase):
    def __init__(self):
        self.token = os.environ.get("GAIA_KEYS_TOKEN")
        if not self.token:
            raise Stopped("GAIA_KEYS_TOKEN is not set; --auth bearer sends the token in it")

    def __call__(self, request):
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class Api:
    """The API at a URL. Every method raises Failed if the service rejects the request, Stopped if it can't be reached."""

    def __init__(self, url, auth, profile, region):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise Stopped("--url: expected https://HOST, as in the stack's output ApiUrl")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise Stopped("--url: keys are sent only over https")
        path = parts.path.rstrip("/")
        path = path[: -len(COLLECTION)] if path.endswith(COLLECTION) else path
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.base = self.origin + path + COLLECTION
        self.http = requests.Session()
        # A function, so that requests doesn't look into ~/.netrc.
        self.http.auth = {
            "sigv4": lambda: SigV4(parts.hostname, profile, region),
            "bearer": Bearer,
            "none": lambda: lambda request: request,
        }[auth]()
        retries = urllib3.Retry(
            ATTEMPTS - 1,
            status_forcelist=RETRIED,
            backoff_factor=0.2,
            allowed_methods=None,
            raise_on_status=False,
        )
        self.http.mount(self.origin, requests.adapters.HTTPAdapter(max_retries=retries))

    def send(self, method, url, body=None, headers=None):
        """The response to a request that may be repeated, and its JSON."""
        try:
            data = None if body is None else lossless.dumps(body).encode()
        except UnicodeEncodeError:
            raise Failed("the config contains an unpaired UTF-16 surrogate") from None
        sent = {"Content-Type": "application/json"} | (headers or {})
        try:
            response = self.http.request(method, url, data=data, headers=sent, timeout=TIMEOUT, allow_redirects=False)
        except requests.RequestException as error:
            cause = getattr(error.args[0] if error.args else error, "reason", error)
            raise Stopped(f"no response from {self.origin} after {ATTEMPTS} attempts: {str(cause).split(': ', 1)[-1]}") from None
        try:
            content = lossless.loads(response.content.decode())
        except ValueError:
            raise Stopped(f"HTTP {response.status_code}: the response is not JSON. {CHECK_URL}") from None
        return response, content

    def ask(self, method, url, body=None, headers=None):
        """The response and its JSON, if it is a 200."""
        response, content = self.send(method, url, body, headers)
        status = response.status_code
        if status == 200:
            return response, content
        if (status, content) == (404, {"detail": "API key not found"}):
            raise NoSuchKey(repeated=bool(response.raw.retries.history))
        if (status, content) == (409, {"detail": "The key created with this Idempotency-Key has been deleted"}):
            raise Gone(content["detail"])
        attempts = f" (after {ATTEMPTS} attempts)" if status in RETRIED else ""
        raise (Failed if status in (409, 413, 422) else Stopped)(f"{status}: {reason(content)}{attempts}")

    def keys(self):
        """All keys with their details, oldest first; each page is requested when the one before is used up."""
        url = f"{self.base}/?details=true"
        while url:
            response, content = self.ask("GET", url)
            if not isinstance(content, list):
                raise Stopped(f"the response is not a list of keys. {CHECK_URL}")
            yield from map(Key, content)
            following = response.links.get("next")
            url = following and urllib.parse.urljoin(url, following["url"])

    def find(self, key_id):
        """One key with its details."""
        return Key(self.ask("GET", f"{self.base}/{key_id}")[1])

    def create(self, config, idempotency_key=None):
        """The new key, secret included; the same again for the same `idempotency_key`."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self.ask("POST", f"{self.base}/", {"config": config}, headers)[1]["api_key"]

    def rotate(self, key_id, body, idempotency_key):
        """The response, new key included; the same again for the same request. Raises Gone if the new key was deleted."""
        return self.ask("POST", f"{self.base}/{key_id}/rotate", body, {"Idempotency-Key": idempotency_key})[1]

    def update(self, key_id, config):
        """Replaces the entire config."""
        self.ask("PUT", f"{self.base}/{key_id}", {"config": config})

    def check(self, config):
        """Whether the service would accept a config; nothing is created."""
        try:
            self.update(NOBODY, config)
        except NoSuchKey:
            pass

    def delete(self, key_id):
        try:
            self.ask("DELETE", f"{self.base}/delete/{key_id}")
        except NoSuchKey as error:
            if not error.repeated:  # else an earlier attempt was carried out, and its response got lost
                raise

    def verify(self, body):
        return self.ask("POST", f"{self.base}/verify", body)[1]


def reason(content):
    """What an error says, without the values."""
    if not isinstance(content, dict):
        return "the response has no reason"
    detail = content.get("detail", content.get("message", ""))
    if isinstance(detail, list):
        # A position in a list is a number, so its text.
        place = lambda entry: ".".join(getattr(step, "encoded_json", step) for step in entry["loc"][1:])
        return "; ".join(": ".join(filter(None, (place(entry), entry["msg"]))) for entry in detail)
    return str(detail)
