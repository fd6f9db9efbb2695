"""The local service as a process, a gateway in front of it that checks signatures, and the code in the documents."""

import hashlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import textwrap
import threading

import boto3
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/debug/examples/local"
KEYS = "/es/api/v1/credentials/api_keys"
ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, REGION = "AKIDEXAMPLE", "a-secret-of/the+tests", "a-token/of+the=tests", "eu-central-1"


def blocks(document, language):
    """The code blocks of one language in a document, those in lists without their indentation."""
    text = (ROOT / document).read_text()
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, flags=re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in found]


def environment(address, **more):
    """What a client needs: where the API is, and AWS's usual variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return clean | {
        "API": f"http://{address}{KEYS}",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": SESSION_TOKEN,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    } | more


def exchange(address, method, path, body, headers):
    """The response to one request: it isn't sent again, and no redirect is followed."""
    pool = urllib3.connection_from_url(f"http://{address}", timeout=60)
    return pool.urlopen(method, path, body, headers, retries=False)


class Local:
    """`with Local() as local:` starts `cargo local`'s binary on free ports, and stops it.

    The sample key alone is in its table, or none. `variables` are the service's settings.
    """

    def __init__(self, port=0, sample=True, **variables):
        options = ["--port", str(port), "--dynamodb-port", "0", "--data", ":memory:"]
        self.command = [BINARY, *options, *(["--sample"] if sample else [])]
        self.environment = os.environ | variables

    def __enter__(self):
        if not BINARY.exists():
            raise SystemExit(f"{BINARY} is missing; make it with: cargo build --example local")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen(self.command, env=self.environment, **pipes)
        with self.process.stdout as printed:  # it goes on when nobody reads any more
            for line in printed:  # entries of the start's come first
                if addresses := re.findall(r"http://([0-9.]+:[0-9]+)", line):
                    self.address, self.dynamodb = addresses
                    return self
        raise SystemExit("the local service did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def exchange(self, method, path, body=None, headers=None):
        """The response. A body is sent as JSON."""
        body = None if body is None else json.dumps(body)
        return exchange(self.address, method, path, body, {"content-type": "application/json"} | (headers or {}))

    def send(self, *request, **options):
        """The status, and the body as JSON."""
        response = self.exchange(*request, **options)
        return response.status, json.loads(response.data)

    def create(self, config):
        status, answer = self.send("POST", KEYS, {"config": config})
        assert status == 200, answer
        return answer["api_key"]

    def list(self):
        return {entry["api_key"]: entry["config"] for entry in self.send("GET", KEYS)[1]}

    def table(self):
        credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "local"}
        return boto3.resource("dynamodb", endpoint_url=f"http://{self.dynamodb}", **credentials).Table("gaia-api-keys")


class Lost(Exception):
    """The connection ends without a response."""


class Gateway:
    """Passes requests on whose signature is right, as API Gateway does with AWS_IAM, or all with `checks=False`.

    `faults` befall the next requests, one each: None, "throttled", "done, then 503", "done, then lost", fields for the response, or
    a function that is called in place of the request, which gets lost. `received` is what came; `requests` has statuses, no keys.
    """

    def __init__(self, local, token=SESSION_TOKEN, checks=True):
        gateway = self
        self.requests, self.received, self.faults, self.token = [], [], [], token

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet, or the client waits for the second one

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                problem = checks and wrong_signature(self.command, self.path, self.headers, body, gateway.token)
                status, headers, answer = 403, {}, json.dumps({"message": problem}).encode()
                request = self.command, self.path, dict(self.headers), body
                gateway.received.append(request)
                try:
                    if not problem:
                        status, headers, answer = gateway.forward(local, *request)
                except Lost:
                    self.close_connection = True
                    return
                gateway.requests.append((self.command, re.sub(r"gaia_\w+", "KEY", self.path), status))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = do_CONNECT = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"

    def forward(self, local, method, path, headers, body):
        fault = self.faults.pop(0) if self.faults else None
        if fault == "throttled":
            return 429, {}, b'{"message":"Too Many Requests"}'
        if callable(fault):
            fault()
            raise Lost
        response = exchange(local.address, method, path, body, headers)
        if fault == "done, then 503":
            return 503, {"Retry-After": "1"}, b'{"detail":"Service Unavailable"}'
        if fault == "done, then lost":
            raise Lost
        passed = {name: response.headers[name] for name in ("content-type", "link") if name in response.headers}
        return response.status, passed, json.dumps(json.loads(response.data) | fault).encode() if fault else response.data

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def wrong_signature(method, path, headers, body, token):
    """What is wrong with a request's Signature Version 4, by botocore's own of the same request; else none."""
    parts = r"AWS4-HMAC-SHA256 Credential=(.+), ?SignedHeaders=(.+), ?Signature=(.+)"
    found = re.fullmatch(parts, headers.get("authorization", ""))
    if not found:
        return "no signature"
    if headers.get("x-amz-security-token") != token:
        return "not the session token"
    signed = found[2].split(";")
    if not {"host", "x-amz-date"} | ({"x-amz-security-token"} if token else set()) <= set(signed):
        return f"signs only {signed}"
    given = {name: headers.get(name, "") for name in signed}
    if given.get("x-amz-content-sha256") not in (None, hashlib.sha256(body).hexdigest()):
        return "the checksum of another body"
    request = AWSRequest(method, f"http://{headers['host']}{path}", data=body, headers=given)
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "execute-api", REGION)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    right = found.group(1, 3) == (signer.scope(request), signature)
    return None if right else f"wrong signature of:\n{canonical}"
