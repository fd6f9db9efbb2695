"""Every response that openapi.yaml documents, and no other."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import jsonschema
import requests
import schemathesis
import yaml
from local import KEYS, ROOT, Local
from schemathesis import checks

ID = "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV"
KEY = f"{ID}_22K4KK659SYTCHNBQB1Z55H2Z7"
LIST, ONE, DELETE = f"{KEYS}/", f"{KEYS}/{{api_key}}", f"{KEYS}/delete/{{api_key}}"
ROTATE, VERIFY = f"{ONE}/rotate", f"{KEYS}/verify"
# Statuses that only API Gateway returns, that need a fault, or that other methods get (schemathesis asks those).
NOT_HERE = {"401", "403", "405", "429", "500", "503"}
CONFORMANCE = [checks.content_type_conformance, checks.response_headers_conformance]
CONFORMANCE += [checks.response_schema_conformance, checks.status_code_conformance]


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.document = yaml.safe_load((ROOT / "openapi.yaml").read_text())
        cls.schema = schemathesis.openapi.from_dict(cls.document)
        cls.service = cls.enterClassContext(Local())
        cls.seen = set()

    def resolve(self, value):
        while "$ref" in value:
            steps, value = value["$ref"].removeprefix("#/").split("/"), self.document
            for step in steps:
                value = value[step]
        return value

    def operations(self):
        """Path, method, the description, and a valid body."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                if method in ("get", "post", "put", "delete"):
                    content = self.resolve(operation.get("requestBody", {})).get("content", {}).get("application/json")
                    yield path, method.upper(), operation, next(self.examples(content)) if content else None

    def examples(self, content):
        yield from [example["value"] for example in content.get("examples", {}).values()] or [content["example"]]

    def fits(self, status, method, path, key=ID, query="", body=None, headers=None):
        """Sends a request. The response has the status, and fits the operation; its JSON."""
        data = body if isinstance(body, (bytes, str)) or body is None else json.dumps(body)
        url = f"http://{self.service.address}{path.replace('{api_key}', key)}{query}"
        headers = {"content-type": "application/json"} | (headers or {})
        response = requests.request(method, url, data=data, headers=headers, timeout=30)
        with self.subTest(f"{method} {url}", body=body, headers=headers):
            self.assertEqual(response.status_code, status, response.text)
            self.assertIn(str(status), self.document["paths"][path][method.lower()]["responses"])
            self.schema[path][method].Case(path_parameters={"api_key": key}).validate_response(response, checks=CONFORMANCE)
            # In the document an error may also be API Gateway's; here it is the service's own.
            self.assertTrue(status == 200 or "detail" in response.json(), response.text)
        self.seen.add((method, path, str(status)))
        return response.json()

    def create(self, config=None, **headers):
        return self.fits(200, "POST", LIST, body={"config": config or {}}, headers=headers)["api_key"]

    def test_every_documented_response(self):
        """Requests that get every status that the document has for an operation, and that the service returns by itself."""
        key, grace = self.create({"permissions": "read"}), {"grace_seconds": 60}
        self.fits(200, "POST", VERIFY, body={"api_key": key, "permission": "write"})
        self.fits(200, "POST", VERIFY, body={"api_key": key})
        self.fits(200, "POST", VERIFY, body={"api_key": self.create({"expires_at": "2999-01-31T12:00:00Z"})})
        for query in ("", "?details=true", "?details=oN&limit=1", f"?limit={2**63 - 1}", f"?after={key[:31]}"):
            self.fits(200, "GET", LIST, query=query)
        for query in ("limit=0", "limit=", f"limit={2**63}", "after=x", "details=x"):
            self.fits(422, "GET", LIST, query=f"?{query}")
        for path, method, operation, body in self.operations():
            names = {self.resolve(parameter)["name"] for parameter in operation.get("parameters", ())}
            self.fits(200, method, path, self.create({"permissions": "read"}), body=body)
            self.fits(413, method, path, key, body=b" " * 65_537)
            if body:
                self.fits(400, method, path, key, body=b'{"config": "\xff"}')
                # Content-Type is checked before the text.
                self.fits(422, method, path, key, body="{}", headers={"content-type": "text/plain"})
            if "{api_key}" in path:
                for unknown in ("nosuchkey", ID.lower(), KEY[:-1], KEY[5:], "%C3%A9", "a%2Fb"):
                    self.fits(404, method, path, unknown, body=body)
            if "If-Match" in names:
                for condition, status in (('"another"', 412), ("another", 422)):
                    self.fits(status, method, path, key, body=body, headers={"If-Match": condition})
        etag = {"If-Match": self.fits(200, "GET", ONE, key)["etag"]}
        self.fits(200, "POST", ROTATE, key, body=grace, headers=etag)
        self.fits(409, "POST", ROTATE, key, body=grace)
        once = {"Idempotency-Key": "once"}
        made = self.create({"x": 1}, **once)
        self.assertEqual(self.create({"x": 1}, **once), made)
        self.fits(422, "POST", LIST, body={"config": {}}, headers=once)
        self.fits(200, "DELETE", DELETE, made)
        self.fits(409, "POST", LIST, body={"config": {"x": 1}}, headers=once)
        documented = {(m, path, status) for path, m, operation, _ in self.operations() for status in operation["responses"]}
        self.assertEqual({each for each in documented if each[2] not in NOT_HERE} - self.seen, set())

    def test_requests_that_schemathesis_finds_by_itself(self):
        here = pathlib.Path(__file__).parent
        command = [pathlib.Path(sys.executable).with_name("st"), "--config-file", here / "schemathesis.toml", "run"]
        command += [ROOT / "openapi.yaml", "--url", f"http://{self.service.address}", "--seed", "1", "--max-time", "30"]
        command += ["--generation-database", "none", "--continue-on-failure"]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(here)}
        folder = self.enterContext(tempfile.TemporaryDirectory())
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_examples_fit_their_schemas(self):
        for path, method, operation, _ in self.operations():
            body = self.resolve(operation.get("requestBody", {"content": {}}))
            for content in [c for holder in (body, *map(self.resolve, operation["responses"].values())) for c in holder["content"].values()]:
                schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": self.document["components"]}
                validator = jsonschema.Draft202012Validator(schema | content["schema"], format_checker=jsonschema.FormatChecker())
                for example in self.examples(content):
                    with self.subTest(f"{method} {path}"):
                        validator.validate(example)
