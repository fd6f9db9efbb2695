"""The management API: signed requests, tried again where that helps, and what its answers mean."""

import os
import re
import urllib.parse
import uuid

import requests
import urllib3

from gaia_keys import lossless
from gaia_keys.errors import Gone, NoSuchKey, Refused, Stopped
from gaia_keys.keys import Key, before

COLLECTION = "/es/api/v1/credentials/api_keys"
# An id that no key has: a config sent to it is checked (422, 413), and then there is no such key (404).
NOBODY = "gaia_00000000000000000000000000"
ATTEMPTS = 6
RETRIED = [429, 500, 502, 503, 504]
# Seconds that one attempt may take.
TIMEOUT = 30
# For everyone who can't sign, and perhaps need not.
UNSIGNED = "or set GAIA_KEYS_AUTH=none for `cargo local`"


class SigV4(requests.auth.AuthBase):
    """Signs with the credentials that botocore finds: variables, profile, role, SSO."""

    def __init__(self, host, profile, region):
        import botocore.session  # takes a third of a second, so only who signs waits for it

        session = botocore.session.Session(profile=profile)
        found = re.search(r"\.execute-api\.([a-z0-9-]+)\.", host)
        self.region = region or (found and found[1]) or os.environ.get("AWS_REGION") or session.get_config_variable("region")
        if not self.region:
            raise Stopped(f"no AWS Region in the URL, AWS_REGION or the profile: use --region, {UNSIGNED}")
        self.credentials = session.get_credentials()
        if self.credentials is None:
            credentials = "--profile, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise Stopped(f"no AWS credentials: use {credentials}, {UNSIGNED}")

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
            raise Stopped("GAIA_KEYS_TOKEN is not set")

    def __call__(self, request):
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class Api:
    """The API at a URL. Every method raises Refused if the service refuses what is asked, Stopped if it can't be asked."""

    def __init__(self, url, auth, profile, region):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise Stopped("--url: expected https://HOST, as the stack's output ApiUrl has it")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise Stopped("--url: keys are only sent over https")
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
            raise Refused("half of a character (a lone surrogate)") from None
        sent = {"Content-Type": "application/json"} | (headers or {})
        try:
            response = self.http.request(method, url, data=data, headers=sent, timeout=TIMEOUT, allow_redirects=False)
        except requests.RequestException as error:
            cause = getattr(error.args[0] if error.args else error, "reason", error)
            raise Stopped(f"{self.origin}: {str(cause).split(': ', 1)[-1]}, {ATTEMPTS} times") from None
        try:
            answer = lossless.loads(response.content.decode())
        except ValueError:
            raise Stopped(f"{response.status_code}, and no JSON: is this the management API?") from None
        return response, answer

    def ask(self, method, url, body=None, headers=None):
        """The response and its JSON, if it is a 200."""
        response, answer = self.send(method, url, body, headers)
        status = response.status_code
        if status == 200:
            return response, answer
        if (status, answer) == (404, {"detail": "API key not found"}):
            raise NoSuchKey(repeated=bool(response.raw.retries.history))
        tried = f", {ATTEMPTS} times" if status in RETRIED else ""
        raise {409: Gone, 413: Refused, 422: Refused}.get(status, Stopped)(f"{status}: {reason(answer)}{tried}")

    def keys(self, after=None, limit=None):
        """The keys younger than an id, oldest first; a page of `limit` is asked for when the one before is used up."""
        query = urllib.parse.urlencode({name: value for name, value in (("after", after), ("limit", limit)) if value})
        url = f"{self.base}/" + (f"?{query}" if query else "")
        while url:
            response, answer = self.ask("GET", url)
            if not isinstance(answer, list):
                raise Stopped("no list of keys: is this the management API?")
            yield from (Key(entry["api_key"], entry["config"]) for entry in answer)
            following = response.links.get("next")
            url = following and urllib.parse.urljoin(url, following["url"])

    def find(self, key_id):
        """One key: the first of those younger than the id before."""
        key = next((key for key in self.keys(before(key_id), 1) if key.id >= key_id), None)
        if key is None or key.id != key_id:
            raise NoSuchKey
        return key

    def create(self, config, idempotency_key=None):
        """The new key, secret included; the same again for the same `idempotency_key`. Raises Gone if that one was deleted."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self.ask("POST", f"{self.base}/", {"config": config}, headers)[1]["api_key"]

    def update(self, key_id, config):
        """Replaces the config whole."""
        self.ask("PUT", f"{self.base}/{key_id}", {"config": config})

    def check(self, config):
        """Whether the service would take a config; nothing is made."""
        try:
            self.update(NOBODY, config)
        except NoSuchKey:
            pass

    def delete(self, key_id):
        try:
            self.ask("DELETE", f"{self.base}/delete/{key_id}")
        except NoSuchKey as error:
            if not error.repeated:  # else the attempt before was carried out, and its answer got lost
                raise

    def verify(self, question):
        return self.ask("POST", f"{self.base}/verify", question)[1]


def reason(answer):
    """What an error says, without the values."""
    if not isinstance(answer, dict):
        return "an answer without a reason"
    detail = answer.get("detail", answer.get("message", ""))
    if isinstance(detail, list):
        # A position in a list is a number, so its text.
        place = lambda entry: ".".join(getattr(step, "encoded_json", step) for step in entry["loc"][1:])
        return "; ".join(f"{place(entry)}: {entry['msg']}" for entry in detail)
    return str(detail)
