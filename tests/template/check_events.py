"""events/: the samples carry the routes that the templates deploy."""

import json
import re

from check import check, same
from stack import EXAMPLE, MAIN, ROOT, Stack, routes


def samples(*folders):
    """The parsed files of events/, by name."""
    files = sorted(file for folder in folders for file in (ROOT / "events" / folder).glob("*.json"))
    return {f"{file.parent.name}/{file.stem}": json.loads(file.read_text()) for file in files}


def routed(routes, method, path):
    """What an HTTP API makes of a request: the route, and the values of its path parameters (None if there are none)."""
    for route in sorted(routes - {"$default"}, key=lambda route: "{" in route):
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(route))
        if found := re.fullmatch(pattern, f"{method} {path}"):
            return route, found.groupdict() or None
    return "$default", None


@check(
    MAIN,
    ("{api_key}/rotate\" }", "{api_key}/replace\" }"),
    ("Method: PUT, Path: \"/es/api/v1/credentials/api_keys/{api_key}\"", "Method: PATCH, Path: \"/es/api/v1/credentials/api_keys/{api_key}\""),
    ("/delete/{api_key}\"", "/delete/{key}\""),
    ("Method: POST, Path: /es/api/v1/credentials/api_keys/verify }", "Method: POST, Path: /es/api/v1/credentials/api_keys/check }"),
)
def samples_of_the_http_api(text):
    deployed = set(routes(Stack(text)["Api"]["Body"]))
    found = samples("http-api", "mistakes")
    for name, event in found.items():
        http = event["requestContext"]["http"]
        same(http["path"], event["rawPath"], name)
        expected = routed(deployed, http["method"], event["rawPath"])
        same((event["routeKey"], event.get("pathParameters")), expected, name)
        same(event["requestContext"]["routeKey"], event["routeKey"], name)
    same({event["routeKey"] for event in found.values()}, deployed, "routes with a sample")


@check(EXAMPLE, ("Method: GET, Path: /items }", "Method: GET, Path: /things }"))
def samples_of_the_authorizer(text):
    stack = Stack(text)
    http, rest = (set(routes(stack[name]["Body"])) for name in ("HttpApi", "RestApi"))
    for name, event in samples("authorizer").items():
        arn = event.get("routeArn") or event["methodArn"]
        _, stage, method, path = arn.split("/", 3)
        route, parameters = routed(http if stage == "$default" else rest, method, f"/{path}")
        assert route != "$default", f"{name}: no route of the example's"
        if event["type"] == "TOKEN":
            continue
        context = event["requestContext"]
        same(context["stage"], stage, name)
        same(event["pathParameters"] or None, parameters, name)
        if event.get("version") == "2.0":
            same({event["routeKey"], context["routeKey"]}, {route}, name)
            same({event["rawPath"], context["http"]["path"]}, {f"/{path}"}, name)
        else:
            same({f"{event['httpMethod']} {event['resource']}", f"{context['httpMethod']} {context['resourcePath']}"}, {route}, name)
            same(event["path"], f"/{path}", name)
