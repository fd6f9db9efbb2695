"""openapi.yaml describes the service's responses: python -m unittest discover -s tests/openapi"""

import copy
import json
import re
import unittest
from urllib.parse import quote

import jsonschema
from service import KEYS, ROOT, Service, document

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
ID = "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV"
KEY = f"{ID}_22K4KK659SYTCHNBQB1Z55H2Z7"
VERIFY = KEYS + "verify"
ONE, ROTATE = KEYS + "{api_key}", KEYS + "{api_key}/rotate"
DETAILS = [
    "api_key", "config", "created_at", "created_by", "updated_at", "updated_by", "last_used_at", "rotated_from", "rotated_to",
    "root_key_id",
]
SOURCE = {path.name: path.read_text() for path in (ROOT / "src").rglob("*.rs")}
# Statuses that only API Gateway returns.
GATEWAY = {403, 429}


class Document:
    """openapi.yaml, with references resolved on demand."""

    def __init__(self, whole):
        self.whole = whole

    def resolve(self, value):
        while isinstance(value, dict) and "$ref" in value:
            value = self.at(value["$ref"])
        return value

    def at(self, reference):
        value = self.whole
        for step in reference.removeprefix("#/").split("/"):
            value = value[step.replace("~1", "/").replace("~0", "~")]
        return value

    def operations(self):
        for path, item in self.whole["paths"].items():
            for method, operation in item.items():
                if method.upper() in METHODS:
                    yield path, method.upper(), operation

    def allow(self, path):
        """The Allow header of a path: what the 405 of each of its operations says."""
        allows = {
            self.resolve(operation["responses"]["405"])["headers"]["Allow"]["schema"]["const"]
            for other, _, operation in self.operations()
            if other == path
        }
        assert len(allows) == 1, (path, allows)
        return allows.pop()

    def problems(self, schema, value):
        """Why a value does not fit a schema of the document."""
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        schema["components"] = self.whole["components"]
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]

    def misfits(self, operation, response):
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
        return found + self.problems(content["schema"], response.json)


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.document = Document(document())
        cls.service = cls.enterClassContext(Service())

    def fits(self, method, path, template, status, **request):
        """Sends a request. The response has the status, and fits the operation that the document has for the template."""
        response = self.service.send(method, path, **request)
        item = self.document.whole["paths"][template]
        operation = item.get(method.lower()) or next(o for p, _, o in self.document.operations() if p == template)
        self.assertEqual(response.status, status, f"{method} {path} {response.text}")
        self.assertEqual(self.document.misfits(operation, response), [], f"{method} {path} {response.text}")
        # In the document an error may also be API Gateway's; here it is the service's own.
        if status != 200:
            self.assertIn("detail", response.json)
            self.assertEqual(response.headers["cache-control"], "no-store")
        return response

    def create(self, config=None, **headers):
        body = {"config": config or {}}
        return self.fits("POST", KEYS, KEYS, 200, body=body, headers=headers).json["api_key"]

    def put(self, key, status, **request):
        return self.fits("PUT", KEYS + quote(key, safe=""), KEYS + "{api_key}", status, **request)

    def delete(self, key, status):
        return self.fits("DELETE", f"{KEYS}delete/{quote(key, safe='')}", KEYS + "delete/{api_key}", status)

    def get(self, key, status=200):
        return self.fits("GET", KEYS + quote(key, safe=""), ONE, status).json

    def rotate(self, key, status=200, headers=None, **body):
        path = f"{KEYS}{quote(key, safe='')}/rotate"
        return self.fits("POST", path, ROTATE, status, body=body, headers=headers)

    def verify(self, status=200, **question):
        return self.fits("POST", VERIFY, VERIFY, status, body=question).json

    def types(self, response):
        return [detail["type"] for detail in response.json["detail"]]

    # ------------------------------------------------------------------------------------------- routes and methods

    def test_every_operation_is_there_and_every_other_method_is_405(self):
        for path in self.document.whole["paths"]:
            allow = self.document.allow(path)
            documented = {method for other, method, _ in self.document.operations() if other == path}
            self.assertEqual(set(allow.split(", ")), documented, path)
            # An ID that no key has, so that nothing changes.
            concrete = path.replace("{api_key}", "gaia_00000000000000000000000000")
            for spelling in (concrete, concrete.rstrip("/"), concrete.rstrip("/") + "/"):
                for method in METHODS:
                    response = self.service.send(method, spelling)
                    with self.subTest(f"{method} {spelling}"):
                        if method in documented:
                            self.assertNotEqual(response.status, 405)
                            self.assertNotEqual(response.json, {"detail": "Not Found"})
                        else:
                            self.assertEqual((response.status, response.headers["allow"]), (405, allow))
                            if method != "HEAD":
                                self.fits(method, spelling, path, 405)

    def test_the_routes_are_those_of_the_router(self):
        names = set(re.findall(r'=> "([A-Z]+ /\S+)",', SOURCE["router.rs"]))
        documented = {f"{method} {path.rstrip('/')}" for path, method, _ in self.document.operations()}
        self.assertEqual(documented, names)

    def test_unknown_paths(self):
        for path in ("/", "/es/api/v1/credentials", KEYS + "/", KEYS + "a/b", KEYS + "delete/a/b"):
            response = self.service.send("GET", path)
            self.assertEqual((response.status, response.json), (404, {"detail": "Not Found"}), path)

    # ---------------------------------------------------------------------------------- what the source knows of

    def test_the_version_is_the_crates(self):
        version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), flags=re.MULTILINE)[1]
        self.assertEqual(self.document.whole["info"]["version"], version)

    def test_the_statuses_are_those_of_error_rs(self):
        code = SOURCE["error.rs"].split("pub fn status")[1].split("pub fn")[0]
        known = {int(status) for status in re.findall(r"=> (\d{3})", code)}
        documented = {int(s) for _, _, operation in self.document.operations() for s in operation["responses"]}
        self.assertEqual(documented, known | {200} | GATEWAY)

    def test_the_types_of_422s_are_those_of_the_source(self):
        known = set(re.findall(r'"((?:type|value)_error\.[a-z_.]+)"', "".join(SOURCE.values())))
        self.assertEqual(set(self.document.at("#/components/schemas/Detail")["properties"]["type"]["enum"]), known)

    def test_the_reasons_are_those_of_access_rs(self):
        code = SOURCE["access.rs"].split("impl Denial")[1].split("\n}\n")[0]
        reasons = self.document.at("#/components/schemas/NotValid")["properties"]["reason"]["enum"]
        self.assertEqual(reasons, re.findall(r'=> "(\w+)"', code), "openapi.yaml, schema NotValid: the order is that of Denial")

    def test_the_fields_with_a_meaning_are_those_of_config_rs(self):
        known = re.findall(r'field\("(\w+)"\)', SOURCE["config.rs"])
        self.assertEqual(list(self.document.at("#/components/schemas/Config")["properties"]), list(dict.fromkeys(known)), "openapi.yaml, schema Config")

    def test_headers_and_messages_of_examples_are_in_the_source(self):
        code = "".join(SOURCE.values())
        for name, response in self.document.whole["components"]["responses"].items():
            content = response["content"]["application/json"]
            examples = [e["value"] for e in content.get("examples", {}).values()] or [content["example"]]
            for example in examples:
                self.assertEqual(self.document.problems(content["schema"], example), [], name)
                if isinstance(example.get("detail"), str):
                    # The source inserts an ID here.
                    for part in re.split(r"gaia_[0-9A-Z]{26}", example["detail"]):
                        self.assertIn(part, code, name)
        for header, value in (("WWW_AUTHENTICATE", "AWS4-HMAC-SHA256, Bearer"), ("RETRY_AFTER", "1")):
            self.assertIn(f'add({header}, "{value}")', code)

    def test_examples_of_requests_and_responses_fit_their_schemas(self):
        for path, method, operation in self.document.operations():
            body = self.document.resolve(operation.get("requestBody", {"content": {}}))
            for holder in (body, *map(self.document.resolve, operation["responses"].values())):
                for content in holder["content"].values():
                    examples = [e["value"] for e in content.get("examples", {}).values()]
                    for example in examples or [content["example"]]:
                        problems = self.document.problems(content["schema"], example)
                        self.assertEqual(problems, [], f"{method} {path}")

    # ------------------------------------------------------------------------------------------------- what is returned

    def test_the_life_of_a_key(self):
        key = self.create({"permissions": "read", "team": "x"})
        listed = self.fits("GET", KEYS, KEYS, 200).json
        self.assertIn({"api_key": key, "config": {"permissions": "read", "team": "x"}}, listed)
        self.assertEqual(self.verify(api_key=key, permission="write")["reason"], "permission")
        response = self.put(key, 200, body={"config": {"permissions": "write"}})
        self.assertEqual(response.json, {"api_key": key, "result": "updated"})
        self.assertTrue(self.verify(api_key=key, permission="write")["valid"])
        self.assertEqual(self.put(key[:31], 200, body={"config": {}}).json["api_key"], key[:31])
        self.assertEqual(self.delete(key, 200).json, {"api_key": key, "result": "deleted"})
        self.delete(key, 404)
        self.put(key, 404, body={"config": {}})
        self.assertEqual(self.verify(api_key=key), {"valid": False, "reason": "not_found"})

    def test_details(self):
        key = self.create({"permissions": "read", "n": 1})
        details = self.get(key)
        self.assertEqual(list(details), DETAILS)
        self.assertEqual((details["api_key"], details["config"]), (key, {"permissions": "read", "n": 1}))
        self.assertEqual([name for name in DETAILS if details[name] is None], DETAILS[4:9])
        self.assertEqual(self.get(key[:31]), details)
        self.verify(api_key=key, permission="write")
        self.assertIsNone(self.get(key)["last_used_at"], "a denied check is no use")
        self.verify(api_key=key, permission="read")
        details = self.get(key)
        self.assertRegex(details["last_used_at"], r"^20\d\d-\d\d-\d\dT\d\d:00:00Z$")
        self.put(key, 200, body={"config": {}})
        self.assertIsNotNone(self.get(key)["updated_at"])
        self.assertIn(self.get(key), self.fits("GET", f"{KEYS}?details=true", KEYS, 200).json)
        self.delete(key, 200)
        self.get(key, 404)

    def test_details_of_a_list(self):
        keys = [self.create() for _ in range(2)]
        schema = self.document.whole["paths"][KEYS]["get"]["parameters"][0]["schema"]
        for value, fields in (*((yes, DETAILS) for yes in ("true", "1", "oN", "yes", "T", "y")),
                               *((no, DETAILS[:2]) for no in ("false", "0", "OFF", "no", "f", "N"))):
            response = self.fits("GET", f"{KEYS}?details={value}&limit=2", KEYS, 200)
            self.assertEqual([list(entry) for entry in response.json], [fields] * 2, value)
            self.assertEqual(self.document.problems(schema, value), [])
        response = self.fits("GET", f"{KEYS}?details=yes&limit=1&after={keys[0][:31]}", KEYS, 200)
        self.assertEqual([entry["api_key"] for entry in response.json], keys[1:])
        response = self.fits("GET", f"{KEYS}?details=yes&limit=1", KEYS, 200)
        first = response.json[0]["api_key"][:31]
        self.assertEqual(response.headers["link"], f'<?after={first}&details=true&limit=1>; rel="next"')
        for value in ("", "2", "maybe", "true%20"):
            response = self.fits("GET", f"{KEYS}?details={value}", KEYS, 422)
            self.assertEqual((self.types(response), response.json["detail"][0]["loc"]), (["type_error.bool"], ["query", "details"]))
            self.assertNotEqual(self.document.problems(schema, value), [], value)

    def test_a_rotation(self):
        old = self.create({"permissions": "read", "n": 1})
        response = self.rotate(old, grace_seconds=3600).json
        new = response["api_key"]
        self.assertEqual(list(response), ["api_key", "result", "rotated_from", "rotated_from_expires_at"])
        self.assertEqual(response["rotated_from"], old[:31])
        self.assertEqual(self.get(old)["config"], {"permissions": "read", "n": 1, "expires_at": response["rotated_from_expires_at"]})
        self.assertEqual((self.get(old)["rotated_to"], self.get(new)["rotated_from"]), (new[:31], old[:31]))
        self.assertEqual(self.get(new)["config"], {"permissions": "read", "n": 1})
        self.assertTrue(all(self.verify(api_key=key, permission="read")["valid"] for key in (old, new)))
        detail = self.rotate(old[:31], 409, grace_seconds=0, expires_at=None).json["detail"]
        self.assertEqual(detail, f"API key was rotated to {new[:31]} already: delete that key to rotate this one again")
        self.delete(new, 200)
        newer = self.rotate(old, grace_seconds=0, expires_at="2035-01-01T00:00:00Z").json["api_key"]
        self.assertEqual(self.verify(api_key=old)["reason"], "expired")
        self.assertEqual(self.get(newer)["config"]["expires_at"], "2035-01-01T00:00:00Z")
        self.rotate(newer, headers={"Idempotency-Key": "rotation"}, grace_seconds=9, expires_at=None)

    def test_a_rotation_that_is_repeated(self):
        old, header = self.create(), {"Idempotency-Key": "rotation of openapi.yaml"}
        first = self.rotate(old, headers=header, grace_seconds=3600)
        again = self.rotate(old, headers=header, grace_seconds=3600)
        self.assertEqual(again.json, first.json)
        self.assertEqual(self.types(self.rotate(old, 422, headers=header, grace_seconds=1)), ["value_error.idempotency_key"])
        self.delete(first.json["api_key"], 200)
        self.rotate(old, 409, headers=header, grace_seconds=3600)

    def test_keys_that_are_not_rotated(self):
        schema = {"$ref": "#/components/schemas/RotateBody"}
        detail = lambda config: self.rotate(self.create(config), 409, grace_seconds=0, expires_at=None).json["detail"]
        self.assertEqual(detail({"enabled": False}), "API key is disabled")
        self.assertEqual(detail({"expires_at": "2020-01-01T00:00:00Z"}), "API key has expired")
        bounded = self.create({"expires_at": "2035-01-01T00:00:00Z"})
        response = self.rotate(bounded, 422, grace_seconds=0)
        self.assertEqual((self.types(response), response.json["detail"][0]["loc"]), (["value_error.missing"], ["body", "expires_at"]))
        self.assertEqual(self.types(self.rotate(self.create({"x": "x" * 4080}), 422, grace_seconds=0)), ["value_error.config_size"])
        key = self.create()
        for body, names in (
            ({}, ["value_error.missing"]),
            ({"grace_seconds": -1}, ["value_error.number.not_ge"]),
            ({"grace_seconds": 31_536_001}, ["value_error.number.not_le"]),
            ({"grace_seconds": 1, "grace": 1}, ["value_error.extra"]),
            ({"grace_seconds": 1, "expires_at": "tomorrow"}, ["value_error.datetime"]),
            ([1], ["type_error.dict"]),
        ):
            response = self.fits("POST", f"{KEYS}{key}/rotate", ROTATE, 422, body=json.dumps(body))
            self.assertEqual(self.types(response), names, body)
            self.assertNotEqual(self.document.problems(schema, body), [], f"the document takes {body}")
        # To JSON Schema this is an integer.
        self.assertEqual(self.types(self.rotate(key, 422, grace_seconds=60.0)), ["type_error.integer"])
        self.assertIsNone(self.get(key)["rotated_to"])

    def test_routes(self):
        key = self.create({"routes": ["GET /items/*", "POST /search"]})
        for question, reason in (
            ({}, None),
            ({"route": "GET /items/17"}, None),
            ({"route": "POST /search"}, None),
            ({"route": "DELETE /items/17"}, "route"),
            ({"route": "GET /items/../search"}, "route"),
        ):
            self.assertEqual(self.verify(api_key=key, **question).get("reason"), reason, question)
        response = self.fits("POST", VERIFY, VERIFY, 422, body={"api_key": key, "route": "search"})
        self.assertEqual((self.types(response), response.json["detail"][0]["loc"]), (["value_error.route"], ["body", "route"]))

    def test_every_reason(self):
        past, here = "2020-01-01T00:00:00Z", "192.0.2.1"
        for config, question, reason in (
            (None, {"api_key": "x"}, "invalid"),
            ({"enabled": False}, {}, "disabled"),
            ({"expires_at": past}, {}, "expired"),
            ({}, {"permission": "read"}, "permission"),
            ({"allowed_ips": [here]}, {"source_ip": "::1"}, "source_ip"),
            ({"allowed_ips": [here]}, {"source_ip": "::ffff:192.0.2.1"}, None),
            ({"routes": ["GET /a"]}, {"route": "GET /b"}, "route"),
            ({"permissions": None, "routes": None, "enabled": None, "expires_at": None, "allowed_ips": None}, {}, None),
        ):
            question = question if config is None else {"api_key": self.create(config), **question}
            self.assertEqual(self.verify(**question).get("reason"), reason, (config, question))

    def test_pages(self):
        keys = [self.create() for _ in range(3)]
        response = self.fits("GET", f"{KEYS}?limit=1&after={keys[0][:31]}", KEYS, 200)
        self.assertEqual([entry["api_key"] for entry in response.json], keys[1:2])
        self.assertEqual(response.headers["link"], f'<?after={keys[1][:31]}&limit=1>; rel="next"')
        response = self.fits("GET", f"{KEYS}?after={keys[1][5:31]}", KEYS, 200)
        self.assertEqual([entry["api_key"] for entry in response.json][:1], keys[2:])
        self.assertIsNone(response.headers["link"])
        self.fits("GET", f"{KEYS}?limit={2**63 - 1}", KEYS, 200)
        for query, name in (
            ("limit=0", "value_error.number.not_ge"),
            ("limit=", "type_error.integer"),
            (f"limit={2**63}", "type_error.integer"),
            ("after=x", "value_error.key_id"),
        ):
            self.assertEqual(self.types(self.fits("GET", f"{KEYS}?{query}", KEYS, 422)), [name], query)

    def test_an_idempotency_key(self):
        header = {"Idempotency-Key": "test of openapi.yaml"}
        key = self.create({"x": 1}, **header)
        self.assertEqual(self.create({"x": 1}, **header), key)
        response = self.fits("POST", KEYS, KEYS, 422, body={"config": {}}, headers=header)
        self.assertEqual(response.json["detail"][0]["loc"], ["header", "idempotency-key"])
        self.delete(key, 200)
        self.fits("POST", KEYS, KEYS, 409, body={"config": {"x": 1}}, headers=header)
        self.fits("POST", KEYS, KEYS, 422, body={"config": {}}, headers={"Idempotency-Key": "a" * 256})

    def test_mistakes_in_a_config(self):
        schema = {"$ref": "#/components/requestBodies/Config/content/application~1json/schema"}
        schema = self.document.at(schema["$ref"])
        key = self.create()
        for body, names in (
            ({}, ["value_error.missing"]),
            ({"config": None}, ["type_error.none.not_allowed"]),
            ({"config": "read"}, ["type_error.dict"]),
            ([1], ["type_error.dict"]),
            ({"config": {"permissions": "admin"}}, ["type_error.enum"]),
            ({"config": {"enabled": 1}}, ["value_error.strictbool"]),
            ({"config": {"expires_at": "tomorrow"}}, ["value_error.datetime"]),
            ({"config": {"allowed_ips": "::1"}}, ["type_error.list"]),
            ({"config": {"allowed_ips": [1]}}, ["type_error.str"]),
            ({"config": {"allowed_ips": []}}, ["value_error.list.min_items"]),
            ({"config": {"routes": "GET /a"}}, ["type_error.list"]),
            ({"config": {"routes": []}}, ["value_error.list.min_items"]),
            ({"config": {"routes": ["GET /a"] * 21}}, ["value_error.list.max_items"]),
            *(
                ({"config": {"routes": [route]}}, ["value_error.route"])
                for route in ("/a", "* /a", "GET a", "get /a", "GET  /a", "GET /a?b", "GET /${a}", "GET /a/../b", "TRACE /a", "GET /a b")
            ),
            ({"config": {"permissions": "read", "routes": ["GET /a"]}}, ["value_error.exclusive"]),
        ):
            for response in (
                self.fits("POST", KEYS, KEYS, 422, body=json.dumps(body)),
                self.put(key, 422, body=json.dumps(body)),
            ):
                self.assertEqual(self.types(response), names, body)
            self.assertNotEqual(self.document.problems(schema, body), [], f"the document takes {body}")
        # Rules that no schema can express.
        for text, name in (
            ("", "value_error.missing"),
            ('{"config": {', "value_error.jsondecode"),
            ('{"config": {"a": 1, "a": 2}}', "value_error.duplicate"),
            ('{"config": {"a": ' + "[" * 200 + "]" * 200 + "}}", "value_error.depth"),
            ('{"config": {"allowed_ips": ["10.0.0.1/8"]}}', "value_error.ipvanynetwork"),
            ('{"config": {"allowed_ips": ["10.0.0.0/08"]}}', "value_error.ipvanynetwork"),
            (json.dumps({"config": {"routes": ["GET /" + "a" * 180] * 20}}), "value_error.policy_size"),
            ('{"config": {"expires_at": "2016-12-31T23:59:60Z"}}', "value_error.datetime"),
            ('{"config": {"expires_at": "0001-01-01T00:00:00Z"}}', "value_error.datetime"),
            ('{"config": {}, "permissions": "read"}', "value_error.misplaced"),
            *(
                (f'{{"config": {{"{name}": 1}}}}', "value_error.misspelled")
                for name in ("permission", "route", "expiresAt", "expiry", "disabled", "Enabled ", "alowed_ips", "ip_allowlist")
            ),
        ):
            self.assertEqual(self.types(self.fits("POST", KEYS, KEYS, 422, body=text)), [name], text)
        # Valid values that look like mistakes.
        for body in (
            {"config": {"ip": 1, "allowed": 1, "active": 1, "x": {"expiresAt": 1}}, "beside": 1},
            {"config": {"permissions": None, "routes": ["GET /*", "DELETE /a.b-c_d~e:f@g+h%20=i/*/"]}},
            {"config": {"permissions": "write", "routes": None}},
            {"config": {"allowed_ips": ["::/0", "192.0.2.0/24", "2001:db8::1"], "expires_at": "2030-01-01T00:00:00+01:00"}},
        ):
            self.assertEqual(self.document.problems(schema, body), [])
            self.fits("POST", KEYS, KEYS, 200, body=body)

    def test_mistakes_in_a_question(self):
        for body, names in (
            ({}, ["value_error.missing"]),
            ({"api_key": None}, ["type_error.none.not_allowed"]),
            (
                {"api_key": 1, "permission": "x", "source_ip": "10.0.0.0/8"},
                ["type_error.str", "type_error.enum", "value_error.ipvanyaddress"],
            ),
            ({"api_key": "x", "permissions": "write"}, ["value_error.extra"]),
            ({"api_key": "x", "route": "items"}, ["value_error.route"]),
        ):
            self.assertEqual(self.types(self.fits("POST", VERIFY, VERIFY, 422, body=body)), names, body)
            schema = {"$ref": "#/components/schemas/Question"}
            self.assertNotEqual(self.document.problems(schema, body), [], f"the document takes {body}")
        broken = self.fits("POST", VERIFY, VERIFY, 422, body=f'{{"api_key": "{KEY}"')
        self.assertNotIn(KEY[32:], broken.text)

    def test_bodies_that_are_too_long_or_not_text(self):
        for method, path, template in (
            ("POST", KEYS, KEYS),
            ("PUT", KEYS + ID, KEYS + "{api_key}"),
            ("POST", VERIFY, VERIFY),
            ("POST", f"{KEYS}{ID}/rotate", ROTATE),
        ):
            self.fits(method, path, template, 400, body=b'{"config": "\xff"}')
            # Content-Type is checked before the text.
            response = self.fits(method, path, template, 422, body="{}", headers={"content-type": "text/plain"})
            gaia = template in (KEYS, KEYS + "{api_key}")
            self.assertEqual(self.types(response), ["type_error.dict" if gaia else "value_error.content_type"])
        for path, method, _ in self.document.operations():
            self.fits(method, path.replace("{api_key}", ID), path, 413, body=b" " * 65_537)
        self.fits("POST", KEYS, KEYS, 413, body={"config": {"x": "x" * 4090}})
        self.fits("POST", KEYS, KEYS, 200, body={"config": {"x": "x" * 4086}})

    def test_invalid_keys(self):
        for key in ("nosuchkey", ID.lower(), KEY[:-1], KEY[:-1] + "8", KEY[5:], "é", "a/b"):
            self.delete(key, 404)
            self.put(key, 404, body={"config": {}})
            self.get(key, 404)
            self.rotate(key, 404, grace_seconds=0)

    def test_items_that_others_wrote(self):
        item = {"service": {"S": "demo"}, "id": {"S": ID[5:]}, "root_key_id": {"S": "053bcb62"}, "config": {"S": "{"}}
        self.service.put_item(item)
        self.assertEqual(self.verify(500, api_key=KEY), {"detail": "Internal Server Error"})
        listed = self.fits("GET", f"{KEYS}?limit=1", KEYS, 200).json
        self.assertEqual(listed, [{"api_key": KEY, "config": None}])
        self.service.put_item({**item, "config": {"S": "{}"}, "root_key_id": {"S": "00000000"}})
        self.assertEqual(self.verify(api_key=KEY)["reason"], "not_found")
        self.assertEqual(self.fits("GET", f"{KEYS}?limit=1", KEYS, 200).json, [{"api_key": ID, "config": {}}])
        self.service.put_item({**item, "config": {"S": '{"permissions": "read"}'}})
        self.assertTrue(self.verify(api_key=KEY, permission="read")["valid"])

    def test_the_sample_events(self):
        """The requests that events/ holds, against the document (tests/integration checks their responses)."""
        files = sorted((ROOT / "events/http-api").glob("*.json")) + sorted((ROOT / "events/mistakes").glob("*.json"))
        self.assertGreaterEqual(len(files), 10)
        paths = sorted(self.document.whole["paths"], key=lambda path: "{" in path)
        for file in files:
            event = json.loads(file.read_text())
            method, path = event["requestContext"]["http"]["method"], event["rawPath"]
            patterns = {p: re.escape(p.rstrip("/")).replace(r"\{api_key\}", "[^/]+") + "/?" for p in paths}
            template = next((p for p in paths if re.fullmatch(patterns[p], path)), None)
            headers = {name: event["headers"][name] for name in ("content-type",) if name in event["headers"]}
            response = self.service.send(method, path, event.get("body"), headers)
            with self.subTest(file.name):
                if template is None:
                    self.assertEqual((response.status, response.json), (404, {"detail": "Not Found"}))
                    continue
                item = self.document.whole["paths"][template]
                operation = item.get(method.lower()) or next(o for p, _, o in self.document.operations() if p == template)
                self.assertEqual(self.document.misfits(operation, response), [], response.text)
            # One of them deletes the sample key; the next ones need it.
            config = {"S": '{"permissions": "read"}'}
            self.service.put_item(
                {"service": {"S": "demo"}, "id": {"S": ID[5:]}, "root_key_id": {"S": "053bcb62"}, "config": config}
            )

    # --------------------------------------------------------------------------------- the checks above can fail

    def test_a_document_that_differs_is_noticed(self):
        response = self.service.send("POST", KEYS, {"config": {}})
        operation = self.document.whole["paths"][KEYS]["post"]
        self.assertEqual(self.document.misfits(operation, response), [])
        without_status, renamed, header, open_headers = (copy.deepcopy(self.document.whole) for _ in range(4))
        del without_status["paths"][KEYS]["post"]["responses"]["200"]
        created = renamed["components"]["schemas"]["Created"]
        created["properties"]["key"] = created["properties"].pop("api_key")
        header["components"]["headers"]["CacheControl"]["schema"]["const"] = "private"
        del open_headers["paths"][KEYS]["post"]["responses"]["200"]["headers"]
        for changed in (without_status, renamed, header, open_headers):
            misfits = Document(changed).misfits(changed["paths"][KEYS]["post"], response)
            self.assertNotEqual(misfits, [])


if __name__ == "__main__":
    unittest.main()
