"""docs/api.md against the source and the running service."""

import re
import unittest

from local import KEYS, ROOT, Local

API = (ROOT / "docs/api.md").read_text()
SOURCE = {path.name: path.read_text().split("#[cfg(test)]")[0] for path in (ROOT / "src").rglob("*.rs")}


def section(heading):
    return re.split(r"\n##+ ", API.split(f"# {heading}\n")[1])[0]


def column(text):
    """The first column of the tables in a text, without headings."""
    cells = re.findall(r"^\| (`[^|]+?) \|", text, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


class HttpApi(unittest.TestCase):
    def test_endpoints(self):
        paths = [f"{method} {KEYS}{path}".rstrip("/") for method, path in map(str.split, column(section("Endpoints")))]
        self.assertEqual(sorted(paths), sorted(re.findall(r'=> "([A-Z]+ /\S+)",', SOURCE["router.rs"])))

    def test_headers(self):
        sent = set(re.findall(r"header::\{?([A-Z_, ]+)\}?;", SOURCE["response.rs"] + SOURCE["handlers.rs"]))
        names = {name.strip().replace("_", "-") for names in sent for name in names.split(",")}
        self.assertEqual({name.upper() for name in column(section("Headers"))}, names | {"IDEMPOTENCY-KEY"})

    def test_details_and_config_fields(self):
        with Local(sample=False) as local:
            local.create({})
            (details,) = local.send("GET", f"{KEYS}?details=true")[1]
        self.assertEqual(column(section("Details of a key")), list(details))
        known = list(dict.fromkeys(re.findall(r'field\("(\w+)"\)', SOURCE["config.rs"])))
        self.assertEqual(column(section("Config fields")), known, "docs/api.md, Config fields: the order is that of config.rs")

    def test_limits(self):
        """The numbers, where the source has them; what lies beyond each gets the status in the table."""
        rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", section("Limits"), flags=re.MULTILINE)[1:]
        limits = {what: (limit.replace(",", ""), beyond) for what, limit, beyond in rows}
        for what, name, file in (
            ("Config", "MAX_CONFIG", "config.rs"),
            ("Nesting of JSON", "MAX_DEPTH", "json.rs"),
            ("Routes per key", "MAX_ROUTES", "config.rs"),
            ("Routes and addresses of a key", "MAX_POLICY", "route.rs"),
            ("Path and query", "MAX_URI", "event.rs"),
        ):
            number = re.search(rf"const {name}: usize = ([\d_]+);", SOURCE["event.rs"] + SOURCE[file])[1].replace("_", "")
            self.assertRegex(limits[what][0], rf"\b{number}\b", what)
        self.assertEqual(int(limits["Body"][0].split()[0]), 64 * 1024)
        path = lambda length: {"config": {"routes": [f"GET /{'a' * (length - 4)}"]}}
        sent = {
            "Body": ({"config": {}, "x": "x" * 65536}, {"config": {}, "x": "x" * 65000}),
            "Config": ({"config": {"x": "x" * 4096}}, {"config": {"x": "x" * (4096 - len('{"x": ""}'))}}),
            "Routes per key": (path(308), path(307)),
            "Routes and addresses of a key": (
                {"config": {"routes": ["GET /" + "a" * (142 - 5)] * 20, "allowed_ips": ["::1"]}},
                {"config": {"routes": ["GET /" + "a" * (142 - 5)] * 20}},
            ),
        }
        with Local(sample=False) as local:
            for what, (beyond, within) in sent.items():
                self.assertEqual(local.send("POST", KEYS, beyond)[0], int(limits[what][1]), what)
                self.assertEqual(local.send("POST", KEYS, within)[0], 200, what)
            for length, status in ((256, 422), (255, 200)):
                headers = {"Idempotency-Key": "x" * length}
                self.assertEqual(local.send("POST", KEYS, {"config": {}}, headers)[0], status)

    def test_idempotency(self):
        """The table: each row's request, and its response."""
        statuses = re.findall(r"^\| the same [^|]+ \| ([^|]+) \|$", section("Idempotency"), flags=re.MULTILINE)
        self.assertEqual([re.search(r"\b4\d\d\b", each) and re.search(r"\b4\d\d\b", each)[0] for each in statuses], [None, "422", "409", None])
        with Local(sample=False, KEY_DISCLOSURE="id") as local:
            once = {"Idempotency-Key": "once"}
            create = lambda config: local.send("POST", KEYS, {"config": config}, once)
            status, created = create({"x": 1})
            self.assertEqual((status, create({"x": 1})), (200, (200, created)), "the whole key again, though only IDs are shown")
            self.assertEqual(len(created["api_key"]), 58)
            status, mistakes = create({"x": 2})
            self.assertEqual((status, mistakes["detail"][0]["type"]), (422, "value_error.idempotency_key"))
            rotate = lambda key: local.send("POST", f"{KEYS}/{key}/rotate", {"grace_seconds": 60}, once)
            self.assertEqual(rotate(created["api_key"])[0], 200)
            self.assertEqual(rotate(local.create({}))[0], 200)
            local.send("DELETE", f"{KEYS}/delete/{created['api_key']}")
            self.assertEqual(create({"x": 1})[0], 409)


if __name__ == "__main__":
    unittest.main()
