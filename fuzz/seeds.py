"""Writes the seeds: the sample events, and the contract's rows as events of both formats, into corpus/TARGET/."""

import base64
import hashlib
import json
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
# The first test vector of docs/security.md, which the targets' keyring made too.
KEY = re.search(r"gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV_\w{26}", (ROOT / "docs/security.md").read_text()).group()
ARN = "arn:aws:execute-api:eu-central-1:123456789012:abcdefghij/live"


def write(target, content):
    content = content if isinstance(content, bytes) else content.encode()
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(content).hexdigest()).write_bytes(content)


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def with_key(text):
    text = re.sub(r"gaia_[0-9A-Z]{26}_[0-9A-Z]{26}", KEY, text)
    return text.replace("{key}", KEY).replace("{new}", KEY)


# The table of config fields, which is generated: their names, each with a value.
fields = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
assert "permissions" in dict(fields)
configs = [
    '{"permissions":"read"}',
    '{"permissions":"write","enabled":true,"expires_at":"2999-12-31T23:59:59Z","allowed_ips":["10.0.0.0/8","::1"]}',
    '{"expires_at":"9999-12-31T23:59:59-23:59","permissions":"read"}',
    '{"expires_at":"0000-01-01T00:00:00+23:59"}',
    '{"enabled":false,"a":[{"b":1e-7,"c":123456789012345678901234567890,"d":"\\u00e9\\ud83d\\ude00"}]}',
    '{"routes":["GET /es/api/v1/*","POST /es/api/v1/search/*"],"allowed_ips":["10.0.0.0/8"]}',
    '{"routes":["DELETE /x"],"permissions":null,"expires_at":"2999-12-31T23:59:59Z"}',
    '{"allowed_ips":["::ffff:10.0.0.0/104","2001:db8::/32"],"allowed_ip":1}',
    *('{"%s":%s}' % field for field in fields),
]

for file in sorted(ROOT.glob("events/*/*.json")):
    event = with_key(compact(json.loads(file.read_text())))
    if file.parent.name == "authorizer":
        for config in configs:
            write("authorizer_event", config + "\n" + event)
    else:
        write("proxy_event", event)

rows = [json.loads(line) for file in sorted(ROOT.glob("tests/contract/*.jsonl")) for line in file.open()]
for number, row in enumerate(rows):
    path, _, query = with_key(row["path"]).partition("?")
    body = row.get("body")
    body = base64.b64decode(row["body_base64"]) if body is None and "body_base64" in row else body
    if isinstance(body, str):
        try:
            config = json.loads(body)["config"]
        except (ValueError, TypeError, KeyError):
            config = None
        if config is not None:
            write("config_checker", compact(config))
    # lone surrogates in a row are the caller's escapes, which stay escapes here
    encoded = isinstance(body, bytes)
    headers = row.get("headers") or {"content-type": "application/json"}
    event = {"headers": headers, "isBase64Encoded": encoded}
    if body is not None:
        event["body"] = base64.b64encode(body).decode() if encoded else with_key(body)
    caller = "arn:aws:iam::123456789012:user/seed"
    if number % 2:
        event |= {"path": path, "httpMethod": row["method"]}
        if query:
            event["queryStringParameters"] = dict(pair.partition("=")[::2] for pair in query.split("&"))
        identity = {"userArn": caller, "sourceIp": "192.0.2.1"}
        event["requestContext"] = {"stage": "live", "httpMethod": row["method"], "identity": identity}
    else:
        event |= {"version": "2.0", "rawPath": path, "rawQueryString": query}
        http = {"method": row["method"], "sourceIp": "192.0.2.1"}
        event["requestContext"] = {"stage": "$default", "authorizer": {"iam": {"userArn": caller}}, "http": http}
    # Rows differ in the body mostly: every third is enough for the events.
    if number % 3 == 0:
        write("proxy_event", compact(event))

for config in configs:
    write("config_checker", config)
for text in [KEY, KEY[:31], KEY[5:31], KEY.lower(), KEY.replace("_", "-"), KEY[:-1], KEY + "0", "gaia_" + "Z" * 26]:
    write("key_parser", text)
for scheme in ["Search ", "bearer ", "", "Basic "]:
    for method in ["GET", "POST"]:
        arn = f"{ARN}/{method}/es/api/v1/search/x"
        token = {"type": "TOKEN", "authorizationToken": scheme + KEY, "methodArn": arn}
        write("authorizer_event", configs[0] + "\n" + compact(token))
        two = {"version": "2.0", "type": "REQUEST", "routeArn": arn, "headers": {"authorization": scheme + KEY},
               "requestContext": {"http": {"method": method, "sourceIp": "10.0.0.1"}}}
        write("authorizer_event", configs[1] + "\n" + compact(two))
for endpoint in range(len(list(ROOT.glob("events/http-api/*.json")))):
    write("both_formats", bytes([endpoint]) + bytes(8) + b'{"config":{"permissions":"read"}}')

# What a mutation can't guess.
words = ["/es/api/v1/credentials/api_keys", "/delete/", "/verify", "/rotate", "grace_seconds", "details", KEY, KEY[:31], "read", "write",
         *(name for name, _ in fields), "GET /", "POST /x/*", "2030-01-31T12:00:00Z", "10.0.0.0/8", "::ffff:0.0.0.0/96", "config",
         "rawPath", "httpMethod", "requestContext", "isBase64Encoded", "queryStringParameters", "rawQueryString",
         "multiValueQueryStringParameters", "domainName", "version", "2.0", "host", "x-forwarded-proto", "limit", "after",
         "authorizationToken", "methodArn", "routeArn", "multiValueHeaders", ARN, "api_key", "source_ip", "permission",
         "\\ud800", "%2F", "%5F", "1e400"]
(HERE / "corpus" / "words.dict").write_text("".join('"%s"\n' % w.replace("\\", "\\\\") for w in words))
