"""docs/errors.md against the source: every type, status and reason."""

import json
import re
import unittest

from local import KEYS, ROOT, Local

ERRORS = (ROOT / "docs/errors.md").read_text()


def code():
    """The source by file, without tests and comments."""
    for path in sorted((ROOT / "src").rglob("*.rs")):
        text = path.read_text().split("#[cfg(test)]")[0]
        text = re.sub(r"b?'(\\.|\")'", "' '", text)
        yield path.name, re.sub(r"(^|\s)//.*", "", text)


def rows(text):
    """The cells of every row of a Markdown text's tables, headings apart."""
    for line in text.splitlines():
        if line.startswith("| ") and not re.match(r"\| [A-Z`]\w*`? (\||message)", line):
            yield [cell.strip() for cell in line.strip("| ").split(" | ")]


class Errors(unittest.TestCase):
    def test_types_and_reasons(self):
        source = "".join(text for _, text in code())
        self.assertEqual(
            set(re.findall(r"`((?:type|value)_error\.[a-z_.]+)`", ERRORS)),
            set(re.findall(r'"((?:type|value)_error\.[a-z_.]+)"', source)),
        )
        section = ERRORS.split("\n## Reasons of a denied check\n")[1].split("\n## ")[0]
        reasons = re.findall(r'=> "(\w+)"', dict(code())["access.rs"].split("impl Denial")[1].split("\n}\n")[0])
        self.assertEqual(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE), reasons, "docs/errors.md, Reasons: the order is that of Denial")

    def test_statuses(self):
        known = set(re.findall(r"=> (\d{3})", dict(code())["error.rs"]))
        section = ERRORS.split("\n## Management API: statuses\n")[1].split("\n## ")[0]
        self.assertEqual(set(re.findall(r"^\| (\d{3}) \|", section, flags=re.MULTILINE)), known)

    def test_settings(self):
        """Each setting that can be wrong is named among the start errors."""
        section = ERRORS.split("\n## Start errors\n")[1]
        text = dict(code())["settings.rs"]
        for name in re.findall(r'(?:SettingsError::new\(|required\(|one_of\()\s*"([A-Z_]+)"', text):
            self.assertIn(name, section)

    def test_types_belong_to_their_messages(self):
        """What the service says to these requests stands in one row, type and message."""
        table = [row for row in rows(ERRORS) if re.match(r"`(type|value)_error", row[0])]
        documented = {(row[0].strip("`"), re.sub(r"<[^>]*>", "{}", row[1].strip("`"))) for row in table}
        config = lambda **fields: ("POST", KEYS, {"config": fields})
        with Local(sample=False) as local:
            key = local.create({"expires_at": "2999-01-01T00:00:00Z"})
            rotate, verify = f"{KEYS}/{key}/rotate", f"{KEYS}/verify"
            sent = [
                ("POST", KEYS, {}), ("POST", KEYS, {"config": None}), ("POST", KEYS, [1]),
                config(permissions="x", enabled=1, expires_at="x", allowed_ips="x"), config(allowed_ips=[1, "10.0.0.1/8"]),
                config(allowed_ips=[], routes=[]), config(routes=["GET /a"] * 21), config(routes=["x", "x /a", "GET a", "GET /..", "GET /" + "a" * 400]),
                config(permissions="read", routes=["GET /a"]), config(routes=[f"GET /{'a' * 180}"] * 20), config(expiry=1),
                config(expires_at="2016-12-31T23:59:60Z"), config(expires_at="0001-01-01T00:00:00Z"), ("POST", KEYS, {"config": {}, "routes": []}),
                config(a=json.loads("[" * 200 + "]" * 200)),
                ("POST", rotate, {"grace_seconds": 1.5}), ("POST", rotate, {"grace_seconds": -1}), ("POST", rotate, {"grace_seconds": 10**9}),
                ("POST", rotate, {"grace_seconds": 1}), ("POST", rotate, {"grace_seconds": 1, "x": 1, "expires_at": "x"}),
                ("POST", rotate, {"grace_seconds": 1, "expires_at": "2020-01-01T00:00:00Z"}),
                ("POST", f"{KEYS}/{local.create({'x': 'x' * 4080})}/rotate", {"grace_seconds": 1}),
                ("POST", verify, {"api_key": 1, "route": "x", "source_ip": "x", "permission": "x"}),
                ("GET", f"{KEYS}?limit=x", None), ("GET", f"{KEYS}?limit=0", None), ("GET", f"{KEYS}?after=x", None),
                ("GET", f"{KEYS}?details=x", None),
            ]
            found = set()
            for method, path, body in sent:
                status, response = local.send(method, path, body)
                self.assertEqual(status, 422, (method, path, body))
                found |= {(entry["type"], re.sub(r"^'[^']*' ", "'{}' ", entry["msg"])) for entry in response["detail"]}
            (entry,) = local.send("POST", verify, {"api_key": "x"}, {"content-type": "text/plain"})[1]["detail"]
            found.add((entry["type"], entry["msg"]))
            headers = {"Idempotency-Key": "once"}
            local.send("POST", KEYS, {"config": {}}, headers)
            for text, body in (("once", {"config": {"x": 1}}), ("x" * 256, {"config": {}})):
                (entry,) = local.send("POST", KEYS, body, {"Idempotency-Key": text})[1]["detail"]
                found.add((entry["type"], entry["msg"]))
        found = {(kind, "unknown field; did you mean '{}'?" if kind.endswith("misspelled") else msg) for kind, msg in found}
        self.assertLessEqual(found, documented, found - documented)
        # Not sent here: a body that isn't JSON, and a field twice.
        self.assertEqual({kind for kind, _ in documented - found}, {"value_error.jsondecode", "value_error.duplicate"})

class Troubleshooting(unittest.TestCase):
    def test_messages_exist(self):
        """Each text in code in the column of symptoms is one of the service, of its commands or of API Gateway."""
        text = (ROOT / "docs/troubleshooting.md").read_text()
        files = [*(ROOT / "cli").rglob("*.py"), *(ROOT / "examples/local").rglob("*.rs"), *(ROOT / "src").rglob("*.rs")]
        source = "".join(path.read_text() for path in files) + ERRORS.replace("`", "")
        symptoms = [row[0] for row in rows(text)]
        self.assertGreater(len(symptoms), 50)
        messages = [message for symptom in symptoms for message in re.findall(r"`([^`]+)`", symptom) if " " in message]
        self.assertGreater(len(messages), 15)
        elsewhere = {  # of the operating system, of SQLite, of CloudFormation, and commands
            "cargo local: --port 3000: Address already in use",
            "--dynamodb-port 8000",
            "database disk image is malformed",
            "CloudWatch Logs role ARN must be set in account settings",
            "cargo local",
            "sam local",
            "sam build",
        }
        for message in set(messages) - elsewhere:
            message = re.sub(r'^\{"message":"(.*)"\}$', r"\1", message)
            for part in re.split(r"<[^>]*>|\d+ attempts|403: ", message):
                self.assertTrue(part.strip() in source, part)


if __name__ == "__main__":
    unittest.main()
