"""docs/errors.md against the source: every message that reaches a caller, a gateway or the log, and every type and reason."""

import json
import re
import unittest

from local import KEYS, ROOT, Local

ERRORS = (ROOT / "docs/errors.md").read_text()
LOG_ENTRIES = (ROOT / "docs/log-entries.md").read_text()
# Texts of the source with a space in them that nobody reads as a message.
NO_MESSAGES = [
    r"(GET|POST|PUT|DELETE)(, \w+)+",  # Allow
    r"[A-Z]+ /es/api/v1/credentials/api_keys\S*",
    "AWS4-HMAC-SHA256, Bearer",
    r"<\?after=.*",
    r"rotate \{\}",  # an operation, in a digest
    r".*(:\w+|attribute_\w+\(|#ttl).*",  # expressions of DynamoDB
    r"id(, \w+)+",  # projections
    r"\[year\].*",
    "an object",  # serde's; the function that fails says something else
    " at line ",
    "Unprocessable Entity",  # a 422 has entries in place of it
]


def code():
    """The source by file, without tests and comments."""
    for path in sorted((ROOT / "src").rglob("*.rs")):
        text = path.read_text().split("#[cfg(test)]")[0]
        text = re.sub(r"b?'(\\.|\")'", "' '", text)
        yield path.name, re.sub(r"(^|\s)//.*", "", text)


def literals():
    """Every text of the source that may be a message: at least two words."""
    for name, text in code():
        for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', text):
            if re.search(r"\S \S", literal) and not any(re.fullmatch(pattern, literal) for pattern in NO_MESSAGES):
                yield name, literal


def rows(text):
    """The cells of every row of a Markdown text's tables, headings apart."""
    for line in text.splitlines():
        if line.startswith("| ") and not re.match(r"\| [A-Z`]\w*`? (\||message)", line):
            yield [cell.strip() for cell in line.strip("| ").split(" | ")]


class Errors(unittest.TestCase):
    def test_every_message_of_the_source_is_described(self):
        """In a cell of a table, or in a sentence, with code around it; values in a message are in angle brackets there."""
        said = re.sub(r"<[^>`]*>", "{}", " ".join(ERRORS.split()) + " ".join(re.findall(r"^\| \[?`.*", LOG_ENTRIES, flags=re.M)))
        found = dict.fromkeys(literals())
        self.assertGreater(len(found), 60)
        missing = []
        for name, literal in found:
            # What is put in is a name, a number or another message, which stands here itself.
            parts = [part.strip(" :") for part in re.split(r"\{[^}]*\}", literal)]
            missing += [f"{name}: {literal}" for part in parts if re.search(r"\w{3}", part) and part not in said]
        self.assertEqual(missing, [])

    def test_the_check_notices(self):
        found = {literal for _, literal in literals()}
        for message in ("API key not found", "config exceeds 4096 bytes", "{id} exists already", "must be 64 hexadecimal digits"):
            self.assertIn(message, found)

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
                config(a=json.loads("[" * 200 + "]" * 200)),
                ("POST", rotate, {"grace_seconds": 1.5}), ("POST", rotate, {"grace_seconds": -1}), ("POST", rotate, {"grace_seconds": 10**9}),
                ("POST", rotate, {"grace_seconds": 1}), ("POST", rotate, {"grace_seconds": 1, "x": 1, "expires_at": "x"}),
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
            headers = {"Idempotency-Key": "once"}
            local.send("POST", KEYS, {"config": {}}, headers)
            for text, body in (("once", {"config": {"x": 1}}), ("x" * 256, {"config": {}})):
                (entry,) = local.send("POST", KEYS, body, {"Idempotency-Key": text})[1]["detail"]
                found.add((entry["type"], entry["msg"]))
            (entry,) = local.send("PUT", f"{KEYS}/{key}", {"config": {}}, {"If-Match": "x"})[1]["detail"]
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
