"""The local service as a process, and openapi.yaml."""

import http.client
import json
import pathlib
import re
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/debug/examples/local"
DOCUMENT = ROOT / "openapi.yaml"
KEYS = "/es/api/v1/credentials/api_keys/"


def document():
    return yaml.safe_load(DOCUMENT.read_text())


class Response:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()
        self.json = json.loads(self.text) if self.text else None


class Service:
    """`with Service() as service:` starts it on free ports with the sample key alone in its table, and stops it."""

    def __enter__(self):
        if not BINARY.exists():
            raise SystemExit(f"{BINARY} is missing; build it with: cargo build --example local")
        self.process = subprocess.Popen(
            [BINARY, "--port", "0", "--dynamodb-port", "0", "--data", ":memory:", "--sample"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        first = self.process.stdout.readline()
        addresses = re.findall(r"http://([0-9.]+:[0-9]+)", first)
        if len(addresses) != 2:
            self.__exit__()
            raise SystemExit(f"the local service did not start: {first!r}")
        self.address, self.dynamodb = addresses
        # Its later output (one log entry per change) must not fill the pipe.
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stdout, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        if hasattr(self, "drain"):
            self.drain.wait()

    def send(self, method, path, body=None, headers=None, address=None):
        """A body that is neither text nor bytes is sent as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            headers.setdefault("content-type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        connection = http.client.HTTPConnection(address or self.address, timeout=30)
        try:
            connection.request(method, path, body, headers)
            return Response(connection.getresponse())
        finally:
            connection.close()

    def put_item(self, item):
        """Writes to the table without the service."""
        headers = {"x-amz-target": "DynamoDB_20120810.PutItem", "content-type": "application/x-amz-json-1.0"}
        headers["x-amz-date"] = "20260101T000000Z"
        headers["authorization"] = (
            "AWS4-HMAC-SHA256 Credential=local/20260101/local/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
        )
        response = self.send("POST", "/", json.dumps({"TableName": "gaia-api-keys", "Item": item}), headers, self.dynamodb)
        assert response.status == 200, response.text
