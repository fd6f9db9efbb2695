"""The management API: signed requests, repeated where that helps."""

import os
import re
import ssl
import time
import urllib.parse
import uuid

import requests

from gaia_keys import lossless, responses
from gaia_keys.errors import Changed, Failed, Gone, NoSuchKey, Stopped, Unexpected

COLLECTION = "/es/api/v1/credentials/api_keys"
# Only characters that every parser of URLs reads alike: what is checked is what is called. No user, query or fragment.
URL = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/$-]*)?", re.ASCII | re.IGNORECASE)
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
# An ID that no key has: the service checks a config sent to it (422, 413), and then finds no such key (404).
NOBODY = "gaia_00000000000000000000000000"
ATTEMPTS = 6
RETRIED = [429, 500, 502, 503, 504]
# Seconds: what one attempt may take, the first pause (the next ones are twice as long each), and the longest.
TIMEOUT = 30
PAUSE = 0.2
LONGEST_PAUSE = 20
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


class Address:
    """Where the API is: `origin` for errors, `base` for requests."""

    def __init__(self, url):
        found = URL.fullmatch(url)
        if not found:
            raise Stopped("--url: expected https://HOST, as in the stack's output ApiUrl")
        scheme, host, port, path = (part or "" for part in found.groups())
        self.host = host.lower()
        self.loopback = self.host in LOOPBACK
        if scheme.lower() == "http" and not self.loopback:
            raise Stopped("--url: keys are sent only over https")
        self.origin = f"{scheme.lower()}://{self.host}{port}"
        path = path.rstrip("/")
        self.base = self.origin + (path[: -len(COLLECTION)] if path.endswith(COLLECTION) else path) + COLLECTION


class Api:
    """The API at a URL.

    Every method raises Failed if the service rejects the request, Stopped if it can't be reached or its response isn't what
    the API documents. `key` is a Key as it was read: the change is made only if the key is still that, otherwise Changed.
    """

    def __init__(self, url, auth, profile, region):
        self.address = Address(url)
        self.base = self.address.base
        self.http = requests.Session()
        # A function, so that requests doesn't look into ~/.netrc.
        self.http.auth = {
            "sigv4": lambda: SigV4(self.address.host, profile, region),
            "bearer": Bearer,
            "none": lambda: lambda request: request,
        }[auth]()

    def attempt(self, method, url, data, headers):
        """The response to one attempt, signed anew. Never a redirect's, and for a loopback address never a proxy's."""
        request = self.http.prepare_request(requests.Request(method, url, data=data, headers=headers))
        for name, value in request.headers.items():
            if not re.fullmatch("[ -~]*", value if isinstance(value, str) else value.decode("latin-1")):
                raise Stopped(f"the header {name} would have a line break or another character that no header may have; check GAIA_KEYS_TOKEN and AWS_* variables")
        settings = self.http.merge_environment_settings(request.url, {}, None, None, None)
        if self.address.loopback:
            settings["proxies"] = {}
        return self.http.send(request, timeout=TIMEOUT, allow_redirects=False, **settings)

    def send(self, method, url, body, headers):
        """The last response to a request that may be repeated, and whether an earlier attempt may have been carried out."""
        try:
            data = None if body is None else lossless.encoded(body)
        except ValueError as error:
            raise Failed(str(error)) from None
        headers = {"Content-Type": "application/json"} | headers
        doubtful = False
        for left in reversed(range(ATTEMPTS)):
            try:
                response = self.attempt(method, url, data, headers)
            except requests.RequestException as error:
                if not left:
                    raise Stopped(f"no response from {self.address.origin} after {ATTEMPTS} attempts: {cause(error)}") from None
                response, doubtful = None, True
            else:
                if response.status_code not in RETRIED or not left:
                    return response, doubtful
                doubtful |= response.status_code != 429
            time.sleep(pause(response, ATTEMPTS - left))

    def ask(self, method, url, body=None, headers=None):
        """The response and its JSON, if it is a 200."""
        response, doubtful = self.send(method, url, body, headers or {})
        status = response.status_code
        try:
            content = lossless.loads(response.content.decode())
        except ValueError:
            raise Unexpected(f"HTTP {status}: the response is not JSON") from None
        if status == 200:
            return response, content
        if status == 412:
            raise Changed(doubtful)
        if (status, content) == (404, {"detail": "API key not found"}):
            raise NoSuchKey(doubtful)
        if (status, content) == (409, {"detail": "The key created with this Idempotency-Key has been deleted"}):
            raise Gone(content["detail"])
        attempts = f" (after {ATTEMPTS} attempts)" if status in RETRIED else ""
        raise (Failed if status in (409, 413, 422) else Stopped)(f"{status}: {responses.reason(content)}{attempts}")

    def keys(self):
        """All keys with their details, oldest first; each page is requested when the one before is used up."""
        query, after = "details=true", ""
        while query:
            response, content = self.ask("GET", f"{self.base}/?{query}")
            yield from responses.page(content)
            query = following(response)
            before, after = after, urllib.parse.parse_qs(query).get("after", [""])[-1]
            if query and after <= before:
                raise Unexpected("the list has a page that doesn't follow the one before it")

    def find(self, key_id):
        """One key with its details."""
        return responses.one(self.ask("GET", f"{self.base}/{key_id}")[1], key_id)

    def create(self, config, idempotency_key=None):
        """The new key, secret included; the same again for the same `idempotency_key`."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return responses.new_key(self.ask("POST", f"{self.base}/", {"config": config}, headers)[1], "created")

    def rotate(self, key, body, idempotency_key):
        """The new key, and when the old one expires; the same again for the same request. Gone if the new key was deleted."""
        headers = {"Idempotency-Key": idempotency_key, "If-Match": key.etag}
        return responses.rotated(self.ask("POST", f"{self.base}/{key.id}/rotate", body, headers)[1], key.id)

    def update(self, key, config):
        """Replaces the entire config."""
        content = self.ask("PUT", f"{self.base}/{key.id}", {"config": config}, {"If-Match": key.etag})[1]
        responses.result(content, "updated", key.id)

    def check(self, config):
        """Whether the service would accept a config; nothing is created."""
        try:
            self.ask("PUT", f"{self.base}/{NOBODY}", {"config": config})
        except NoSuchKey:
            return
        raise Unexpected("the response says that a key was updated that can't exist")

    def delete(self, key):
        try:
            content = self.ask("DELETE", f"{self.base}/delete/{key.id}", headers={"If-Match": key.etag})[1]
        except NoSuchKey as error:
            if not error.doubtful:  # else an earlier attempt was carried out, and its response got lost
                raise
        else:
            responses.result(content, "deleted", key.id)

    def verify(self, body):
        return responses.verdict(self.ask("POST", f"{self.base}/verify", body)[1], body["api_key"])


def pause(response, attempts):
    """Seconds to wait before the next attempt: what the response asks for, within bounds."""
    own = PAUSE * 2 ** (attempts - 1)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return min(int(asked) if re.fullmatch("[0-9]{1,9}", asked) else own, LONGEST_PAUSE)


def following(response):
    """The query of the next page, or "". Requests are signed, so no other address is ever called."""
    url = response.links.get("next", {}).get("url")
    if url is None:
        return ""
    found = re.fullmatch(r"\?([A-Za-z0-9_=&%.-]+)", url)
    if not found:
        raise Unexpected("the list has a page at another address")
    return found[1]


def cause(error):
    """Why there is no response. Only what the system says: other texts may repeat a URL with a password, or a header."""
    left, seen = [error], []
    while left:
        error = left.pop()
        if not isinstance(error, BaseException) or error in seen:
            continue
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        seen.append(error)
        left += [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
    return type(seen[0]).__name__
