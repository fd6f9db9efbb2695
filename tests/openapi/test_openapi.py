"""openapi.yaml describes the service's responses: python -m unittest discover -s tests/openapi"""

import copy
import json
import pathlib
import re
import sys
import unittest

import jsonschema
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "docs"))

from local import KEYS, ROOT, Local

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
ID = "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV"
KEY = f"{ID}_22K4KK659SYTCHNBQB1Z55H2Z7"
LIST, ONE, DELETE = f"{KEYS}/", f"{KEYS}/{{api_key}}", f"{KEYS}/delete/{{api_key}}"
ROTATE, VERIFY = f"{ONE}/rotate", f"{KEYS}/verify"
# Statuses that only API Gateway returns, that need a fault, or that other methods get (test_methods).
NOT_HERE = {"401", "403", "405", "429", "500", "503"}

ROUTES = ("/a", "* /a", "GET a", "get /a", "GET  /a", "GET /a?b", "GET /${a}", "GET /a/../b", "TRACE /a", "GET /a b")
# Bodies that the service rejects, and so does the schema; what the 422 says.
REJECTED = [
    (LIST, {}, ["value_error.missing"]),
    (LIST, [1], ["type_error.dict"]),
    *((LIST, {"config": config}, [kind]) for config, kind in (
        (None, "type_error.none.not_allowed"),
        ("read", "type_error.dict"),
        ({"permissions": "admin"}, "type_error.enum"),
        ({"enabled": 1}, "value_error.strictbool"),
        ({"expires_at": "tomorrow"}, "value_error.datetime"),
        ({"allowed_ips": "::1"}, "type_error.list"),
        ({"allowed_ips": [1]}, "type_error.str"),
        ({"allowed_ips": []}, "value_error.list.min_items"),
        ({"routes": "GET /a"}, "type_error.list"),
        ({"routes": []}, "value_error.list.min_items"),
        ({"routes": ["GET /a"] * 21}, "value_error.list.max_items"),
        ({"permissions": "read", "routes": ["GET /a"]}, "value_error.exclusive"),
        *(({"routes": [route]}, "value_error.route") for route in ROUTES),
    )),
    (ROTATE, {}, ["value_error.missing"]),
    (ROTATE, {"grace_seconds": -1}, ["value_error.number.not_ge"]),
    (ROTATE, {"grace_seconds": 31_536_001}, ["value_error.number.not_le"]),
    (ROTATE, {"grace_seconds": 1, "grace": 1}, ["value_error.extra"]),
    (ROTATE, {"grace_seconds": 1, "expires_at": "tomorrow"}, ["value_error.datetime"]),
    (ROTATE, [1], ["type_error.dict"]),
    (VERIFY, {}, ["value_error.missing"]),
    (VERIFY, {"api_key": None}, ["type_error.none.not_allowed"]),
    (VERIFY, {"api_key": 1}, ["type_error.str"]),
    (VERIFY, {"api_key": "x", "permission": "x"}, ["type_error.enum"]),
    (VERIFY, {"api_key": "x", "source_ip": "10.0.0.0/8"}, ["value_error.ipvanyaddress"]),
    (VERIFY, {"api_key": "x", "permissions": "write"}, ["value_error.extra"]),
    (VERIFY, {"api_key": "x", "route": "items"}, ["value_error.route"]),
]
# Rules that no schema expresses.
REJECTED_BY_RULE = [
    (LIST, "", ["value_error.missing"]),
    (LIST, '{"config": {', ["value_error.jsondecode"]),
    (LIST, '{"config": {"a": 1, "a": 2}}', ["value_error.duplicate"]),
    (LIST, '{"config": {"a": ' + "[" * 200 + "]" * 200 + "}}", ["value_error.depth"]),
    (LIST, '{"config": {"allowed_ips": ["10.0.0.1/8"]}}', ["value_error.ipvanynetwork"]),
    (LIST, json.dumps({"config": {"routes": ["GET /" + "a" * 180] * 20}}), ["value_error.policy_size"]),
    (LIST, '{"config": {"permission": 1}}', ["value_error.misspelled"]),
    (LIST, '{"config": {"expires_at": "2016-12-31T23:59:60Z"}}', ["value_error.datetime"]),
    (LIST, '{"config": {"expires_at": "0001-01-01T00:00:00Z"}}', ["value_error.datetime"]),
    (LIST, '{"config": {}, "permissions": "read"}', ["value_error.misplaced"]),
    (ROTATE, '{"grace_seconds": 60.0}', ["type_error.integer"]),  # to JSON Schema an integer
]
ACCEPTED = [
    (LIST, {"config": {"allowed": 1, "x": {"expiresAt": 1}}, "beside": 1}),
    (LIST, {"config": {"permissions": None, "routes": ["GET /*", "DELETE /a.b-c_d~e:f@g+h%20=i/*/"]}}),
    (LIST, {"config": {"permissions": "write", "routes": None}}),
    (LIST, {"config": {"allowed_ips": ["::/0", "192.0.2.0/24"], "expires_at": "2030-01-01T00:00:00+01:00"}}),
    (ROTATE, {"grace_seconds": 60, "expires_at": None}),
    (VERIFY, {"api_key": KEY, "permission": "read", "route": "GET /a", "source_ip": "::1"}),
]
# Config, question, and the reason of the denial.
CHECKS = [
    ({}, {"permission": "read"}, "permission"),
    ({"enabled": False}, {}, "disabled"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, {}, "expired"),
    ({"allowed_ips": ["192.0.2.1"]}, {"source_ip": "::1"}, "source_ip"),
    ({"allowed_ips": ["192.0.2.1"]}, {"source_ip": "::ffff:192.0.2.1"}, None),
    ({"routes": ["GET /a"]}, {"route": "GET /b"}, "route"),
    ({"routes": ["GET /a/*"]}, {"route": "GET /a/b"}, None),
    ({"permissions": None, "routes": None, "enabled": None, "expires_at": None, "allowed_ips": None}, {}, None),
]


class Document:
    """openapi.yaml, with references resolved on demand."""

    def __init__(self, whole):
        self.whole = whole

    def resolve(self, value):
        while isinstance(value, dict) and "$ref" in value:
            steps, value = value["$ref"].removeprefix("#/").split("/"), self.whole
            for step in steps:
                value = value[step.replace("~1", "/").replace("~0", "~")]
        return value

    def operations(self):
        for path, item in self.whole["paths"].items():
            for method, operation in item.items():
                if method.upper() in METHODS:
                    yield path, method.upper(), operation

    def body(self, path, method="post"):
        """The schema of an operation's body."""
        body = self.resolve(self.whole["paths"][path][method]["requestBody"])
        return body["content"]["application/json"]["schema"]

    def example(self, operation):
        """The first example of an operation's body, or None."""
        content = self.resolve(operation.get("requestBody"))
        if not content:
            return None
        content = content["content"]["application/json"]
        return next(iter(content["examples"].values()))["value"] if "examples" in content else content["example"]

    def problems(self, schema, value):
        """Why a value does not fit a schema of the document."""
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "components": self.whole["components"]}
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]

    def misfits(self, operation, response, text):
        """Why a response doesn't fit the operation."""
        documented = self.resolve(operation["responses"].get(str(response.status)))
        if documented is None:
            return [f"{response.status} is not documented"]
        found = []
        for name, header in documented.get("headers", {}).items():
            header, value = self.resolve(header), response.headers.get(name)
            if value is not None:
                found += [f"{name}: {problem}" for problem in self.problems(header["schema"], value)]
            elif header.get("required"):
                found.append(f"{name} is missing")
        headers = {name.lower() for name in documented.get("headers", {})} | {"content-type", "content-length", "date"}
        found += [f"{name} is not documented" for name in response.headers.keys() if name.lower() not in headers]
        content = documented["content"].get(response.headers.get("content-type"))
        if content is None:
            return [*found, f"content type {response.headers.get('content-type')}"]
        return found + self.problems(content["schema"], json.loads(text))


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.document = Document(yaml.safe_load((ROOT / "openapi.yaml").read_text()))
        cls.service = cls.enterClassContext(Local())
        cls.seen = set()

    def fits(self, status, method, template, key=ID, query="", **request):
        """Sends a request. The response has the status, and fits the operation; its JSON."""
        path = template.replace("{api_key}", key) + query
        response, text = self.service.exchange(method, path, **request)
        item = self.document.whole["paths"][template]
        operation = item.get(method.lower()) or next(o for p, _, o in self.document.operations() if p == template)
        self.assertEqual(response.status, status, f"{method} {path} {text}")
        self.assertEqual(self.document.misfits(operation, response, text), [], f"{method} {path} {text}")
        # In the document an error may also be API Gateway's; here it is the service's own.
        self.assertTrue(status == 200 or "detail" in json.loads(text), text)
        self.seen.add((method, template, str(status)))
        return json.loads(text)

    def create(self, config=None, **headers):
        return self.fits(200, "POST", LIST, body={"config": config or {}}, headers=headers)["api_key"]

    def types(self, response):
        return [detail["type"] for detail in response["detail"]]

    def test_methods(self):
        """Every operation is there, and every other method is a 405 that names them."""
        for path in self.document.whole["paths"]:
            documented = {method for other, method, _ in self.document.operations() if other == path}
            # An ID that no key has, so that nothing changes.
            concrete = path.replace("{api_key}", "gaia_00000000000000000000000000")
            for spelling in (concrete, concrete.rstrip("/"), concrete.rstrip("/") + "/"):
                response, _ = self.service.exchange("PATCH", spelling)
                allowed = set(response.headers["allow"].split(", "))
                self.assertLessEqual(documented, allowed)
                for method in METHODS:
                    with self.subTest(f"{method} {spelling}"):
                        response, text = self.service.exchange(method, spelling)
                        self.assertEqual(response.status == 405, method not in allowed)
                        self.assertNotEqual(text, '{"detail":"Not Found"}')
            for method in {"POST", "PATCH", "DELETE"} - allowed:
                self.fits(405, method, path)

    def test_examples_fit_their_schemas(self):
        for path, method, operation in self.document.operations():
            body = self.document.resolve(operation.get("requestBody", {"content": {}}))
            for holder in (body, *map(self.document.resolve, operation["responses"].values())):
                for content in holder["content"].values():
                    examples = [e["value"] for e in content.get("examples", {}).values()]
                    for example in examples or [content["example"]]:
                        self.assertEqual(self.document.problems(content["schema"], example), [], f"{method} {path}")

    def test_bodies(self):
        """The schemas take what the service takes."""
        key = self.create()
        for template, body, types in REJECTED:
            with self.subTest(f"{template} {body}"):
                self.assertEqual(self.types(self.fits(422, "POST", template, key, body=body)), types)
                self.assertNotEqual(self.document.problems(self.document.body(template), body), [])
                if template == LIST:
                    self.assertEqual(self.types(self.fits(422, "PUT", ONE, key, body=body)), types)
        for template, text, types in REJECTED_BY_RULE:
            with self.subTest(f"{template} {text[:60]}"):
                self.assertEqual(self.types(self.fits(422, "POST", template, key, body=text)), types)
        for template, body in ACCEPTED:
            with self.subTest(f"{template} {body}"):
                self.fits(200, "POST", template, self.create(), body=body)
                self.assertEqual(self.document.problems(self.document.body(template), body), [])

    def test_checks(self):
        self.assertEqual(self.fits(200, "POST", VERIFY, body={"api_key": "x"})["reason"], "invalid")
        for config, question, reason in CHECKS:
            found = self.fits(200, "POST", VERIFY, body={"api_key": self.create(config), **question})
            self.assertEqual(found.get("reason"), reason, (config, question))

    def test_every_documented_response(self):
        """Requests that get every status that the document has for an operation, and that the service returns by itself."""
        key = self.create({"permissions": "read"})
        body, grace = {"config": {"permissions": "write"}}, {"grace_seconds": 60}
        self.fits(200, "GET", ONE, key)
        self.fits(200, "PUT", ONE, key, body=body)
        self.fits(200, "POST", VERIFY, body={"api_key": key, "permission": "write"})
        self.assertIsNotNone(self.fits(200, "GET", ONE, key)["last_used_at"])
        for query in ("", "?details=true", "?details=oN&limit=1", f"?limit={2**63 - 1}", f"?after={key[:31]}"):
            self.fits(200, "GET", LIST, query=query)
        for query in ("limit=0", "limit=", f"limit={2**63}", "after=x", "details=x"):
            self.fits(422, "GET", LIST, query=f"?{query}")
        for template, method, operation in self.document.operations():
            content = self.document.example(operation)
            names = {self.document.resolve(parameter)["name"] for parameter in operation.get("parameters", ())}
            self.fits(200, method, template, self.create({"permissions": "read"}), body=content)
            self.fits(413, method, template, key, body=b" " * 65_537)
            if content:
                self.fits(400, method, template, key, body=b'{"config": "\xff"}')
                # Content-Type is checked before the text.
                self.fits(422, method, template, key, body="{}", headers={"content-type": "text/plain"})
            if "{api_key}" in template:
                for unknown in ("nosuchkey", ID.lower(), KEY[:-1], KEY[5:], "%C3%A9", "a%2Fb"):
                    self.fits(404, method, template, unknown, body=content)
            if "If-Match" in names:
                for condition, status in (('"another"', 412), ("another", 422)):
                    self.fits(status, method, template, key, body=content, headers={"If-Match": condition})
        etag = {"If-Match": self.fits(200, "GET", ONE, key)["etag"]}
        self.fits(200, "POST", ROTATE, key, body=grace, headers=etag)
        self.fits(409, "POST", ROTATE, key, body=grace)
        for config in ({"enabled": False}, {"expires_at": "2020-01-01T00:00:00Z"}):
            self.fits(409, "POST", ROTATE, self.create(config), body=grace | {"expires_at": None})
        once = {"Idempotency-Key": "once"}
        made = self.create({"x": 1}, **once)
        self.assertEqual(self.create({"x": 1}, **once), made)
        self.fits(422, "POST", LIST, body={"config": {}}, headers=once)
        self.fits(200, "DELETE", DELETE, made)
        self.fits(409, "POST", LIST, body={"config": {"x": 1}}, headers=once)
        self.fits(404, "GET", ONE, made)
        # An item that another program wrote.
        item = {"service": "demo", "id": ID[5:], "root_key_id": "053bcb62", "config": "{"}
        self.service.table().put_item(Item=item)
        self.fits(500, "POST", VERIFY, body={"api_key": KEY})
        self.assertEqual(self.fits(200, "GET", LIST, query="?limit=1"), [{"api_key": KEY, "config": None}])
        self.service.table().put_item(Item=item | {"config": '{"permissions": "read"}'})
        documented = {(m, p, status) for p, m, operation in self.document.operations() for status in operation["responses"]}
        missing = {case for case in documented - self.seen if case[2] not in NOT_HERE}
        self.assertEqual(missing, set(), "documented, but no request here gets it")

    def test_the_sample_events(self):
        """The requests that events/ holds, against the document (tests/integration checks their responses)."""
        paths = sorted(self.document.whole["paths"], key=lambda path: "{" in path)
        patterns = {path: re.escape(path.rstrip("/")).replace(r"\{api_key\}", "[^/]+") + "/?" for path in paths}
        with Local() as self.service:
            for file in [file for folder in ("http-api", "mistakes") for file in sorted((ROOT / "events" / folder).glob("*.json"))]:
                event = json.loads(file.read_text())
                method, path = event["requestContext"]["http"]["method"], event["rawPath"]
                template = next((p for p in paths if re.fullmatch(patterns[p], path)), None)
                headers = {"content-type": event["headers"].get("content-type", "")}
                response, text = self.service.exchange(method, path, event.get("body"), headers)
                with self.subTest(file.name):
                    if template is None:
                        self.assertEqual(text, '{"detail":"Not Found"}')
                        continue
                    item = self.document.whole["paths"][template]
                    operation = item.get(method.lower()) or next(iter(item.values()))
                    self.assertEqual(self.document.misfits(operation, response, text), [], text)

    def test_a_document_that_differs_is_noticed(self):
        response, text = self.service.exchange("POST", LIST, {"config": {}})
        without_status, renamed, header, open_headers = (copy.deepcopy(self.document.whole) for _ in range(4))
        del without_status["paths"][LIST]["post"]["responses"]["200"]
        created = renamed["components"]["schemas"]["Created"]
        created["properties"]["key"] = created["properties"].pop("api_key")
        header["components"]["headers"]["CacheControl"]["schema"]["const"] = "private"
        del open_headers["paths"][LIST]["post"]["responses"]["200"]["headers"]
        for changed in (without_status, renamed, header, open_headers):
            self.assertNotEqual(Document(changed).misfits(changed["paths"][LIST]["post"], response, text), [])


if __name__ == "__main__":
    unittest.main()
