"""How requests reach the API: its address, what authorizes them, and attempts, which are repeated where that helps."""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Iterator

import certifi
import urllib3

from gaia_keys import lossless
from gaia_keys.aws import Account
from gaia_keys.errors import Failed, Stopped
from gaia_keys.output import hide, say

COLLECTION = "/es/api/v1/credentials/api_keys"
# Only characters that every parser of URLs reads alike: what is checked is what is called. No user, query or fragment.
URL = re.compile(
    r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/$-]*)?", re.ASCII | re.IGNORECASE
)
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ATTEMPTS = 6
AFTER = f" (after {ATTEMPTS} attempts)"
RETRIED = [429, 500, 502, 503, 504]
# Seconds: what one attempt may take, the first pause (the next ones are twice as long each), and the longest; how long
# nobody wonders.
TIMEOUT = 30
PAUSE = 0.2
LONGEST_PAUSE = 20
PATIENCE = 1
# For everyone who can't sign, and perhaps need not.
UNSIGNED = "or set GAIA_KEYS_AUTH=none for `cargo local`"

Headers = dict[str, str]
# Adds what authorizes a request of this method, URL and body to its headers.
Authorize = Callable[[str, str, "bytes | None", Headers], None]


def sigv4(host: str, profile: str | None, region: str | None) -> Authorize:
    """Signs with the credentials that botocore finds: variables, profile, role, SSO."""
    import botocore.auth  # takes a third of a second, so only commands that sign wait for it
    import botocore.awsrequest

    found = re.search(r"\.execute-api\.([a-z0-9-]+)\.", host)
    account = Account(profile, region or (found and found[1]))
    if not account.region:
        where = "the URL, AWS_REGION or the profile"
        raise Stopped(f"cannot determine the AWS Region from {where}; use --region, {UNSIGNED}")
    credentials = account.session.get_credentials()
    if credentials is None:
        where = "--profile, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise Stopped(f"no AWS credentials; use {where}, {UNSIGNED}")

    def authorize(method: str, url: str, data: bytes | None, headers: Headers) -> None:
        frozen = credentials.get_frozen_credentials()
        hide(frozen.secret_key, frozen.token)
        request = botocore.awsrequest.AWSRequest(method, url, data=data)
        botocore.auth.SigV4Auth(frozen, "execute-api", account.region).add_auth(request)
        headers.update(request.headers)

    return authorize


def bearer() -> Authorize:
    token = os.environ.get("GAIA_KEYS_TOKEN")
    if not token:
        raise Stopped("GAIA_KEYS_TOKEN is not set; --auth bearer sends the token in it")
    return lambda method, url, data, headers: headers.update({"Authorization": f"Bearer {token}"})


class Transport:
    """Sends requests to the API at a URL: `base` for requests, `origin` for errors."""

    def __init__(self, url: str, auth: str, profile: str | None, region: str | None) -> None:
        found = URL.fullmatch(url)
        if not found:
            raise Stopped("--url: expected https://HOST (or http:// for a loopback address)")
        scheme, host, port, path = (part or "" for part in found.groups())
        self.host = host.lower()
        self.loopback = self.host in LOOPBACK
        if scheme.lower() == "http" and not self.loopback:
            raise Stopped("--url: keys are sent only over https (or http:// to a loopback address)")
        self.origin = f"{scheme.lower()}://{self.host}{port}"
        self.base = self.origin + path.rstrip("/").removesuffix(COLLECTION) + COLLECTION
        self.pool = self.connections()
        self.authorize: Authorize = lambda method, url, data, headers: None
        if auth == "sigv4":
            self.authorize = sigv4(self.host, profile, region)
        elif auth == "bearer":
            self.authorize = bearer()

    def connections(self) -> urllib3.PoolManager:
        """Through the proxy that the environment names, but never for a loopback address."""
        variables = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        authorities = next(filter(None, map(os.environ.get, variables)), None) or certifi.where()
        if self.loopback:
            return urllib3.PoolManager(ca_certs=authorities)
        import urllib.request  # takes a while, so only those who may need a proxy wait for it

        proxies = urllib.request.getproxies()
        proxy = proxies.get("https") or proxies.get("all")
        if not proxy or urllib.request.proxy_bypass(self.host):
            return urllib3.PoolManager(ca_certs=authorities)
        try:
            parts = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
            password = urllib3.make_headers(proxy_basic_auth=urllib.parse.unquote(parts.auth)) if parts.auth else None
            return urllib3.ProxyManager(parts._replace(auth=None).url, proxy_headers=password, ca_certs=authorities)
        except (urllib3.exceptions.HTTPError, ValueError):
            raise Stopped("the proxy of the environment (https_proxy): expected http://HOST:PORT") from None

    def attempt(self, method: str, url: str, data: bytes | None, headers: Headers) -> urllib3.BaseHTTPResponse:
        """The response to one attempt, signed anew; a redirect is none that is followed. Errors: those of urllib3."""
        headers = {"Content-Type": "application/json", "User-Agent": "gaia-keys", **headers}
        self.authorize(method, url, data, headers)
        for name, value in headers.items():
            if not re.fullmatch("[ -~]*", value):
                wrong = "a line break or another character that no header may have"
                raise Stopped(f"the header {name} would have {wrong}; check GAIA_KEYS_TOKEN and AWS_* variables")
        return self.pool.request(
            method, url, body=data, headers=headers, redirect=False, retries=False, timeout=TIMEOUT
        )

    def tried(self, status: int) -> str:
        """What is said of a last response beside its error."""
        return AFTER if status in RETRIED else ""

    def unreachable(self, error: urllib3.exceptions.HTTPError) -> str:
        return f"no response from {self.origin}: {cause(error)}"

    def send(self, method: str, url: str, body: object, headers: Headers) -> tuple[urllib3.BaseHTTPResponse, bool]:
        """The last response to a request that may be repeated, and whether an earlier attempt may have succeeded."""
        try:
            data = None if body is None else lossless.encoded(body)
        except ValueError as error:
            raise Failed(str(error)) from None
        doubtful = told = False
        began = time.monotonic()
        for left in reversed(range(ATTEMPTS)):
            response = None
            try:
                response = self.attempt(method, url, data, headers)
            except urllib3.exceptions.HTTPError as error:
                failure = self.unreachable(error)
                if self.loopback and of_kind(error, ConnectionRefusedError):
                    raise Stopped(f"{failure}. Is `cargo local` running?") from None
                if of_kind(error, ssl.SSLCertVerificationError):
                    raise Stopped(f"{failure}. AWS_CA_BUNDLE is the file with the authorities to trust") from None
                if not left:
                    raise Stopped(failure + AFTER) from None
                doubtful = True
            else:
                if response.status not in RETRIED or not left:
                    return response, doubtful
                failure = f"{response.status} from {self.origin}"
                doubtful |= response.status != 429
            if not told and time.monotonic() - began > PATIENCE:
                told = True
                say(f"{failure}; trying again")
            time.sleep(pause(response, ATTEMPTS - left))
        raise AssertionError("the last attempt returns or raises")


def pause(response: urllib3.BaseHTTPResponse | None, attempts: int) -> float:
    """Seconds to wait before the next attempt: what the response asks for, within bounds."""
    asked = response.headers.get("Retry-After", "") if response else ""
    seconds = int(asked) if re.fullmatch("[0-9]{1,9}", asked) else PAUSE * 2 ** (attempts - 1)
    return min(seconds, LONGEST_PAUSE)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def of_kind(error: BaseException, kind: type[BaseException]) -> bool:
    return any(isinstance(each, kind) for each in chain(error))


def cause(error: BaseException) -> str:
    """Why there is no response. Only what the system says: other texts may repeat a password or a header."""
    for each in chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return each.verify_message
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
    return type(error).__name__
