"""The HTTP API: routes, limits, access log."""

import json

from check import HARMLESS_VARIABLES, check, same
from stack import MAIN, Stack, log_variables, routes

KEYS = "/es/api/v1/credentials/api_keys"
LIST = f"GET {KEYS}"
# One form each: HTTP APIs treat /x and /x/ as one route, so SAM's second one would be an integration without a route.
ROUTES = {
    LIST,
    f"POST {KEYS}",
    f"GET {KEYS}/{{api_key}}",
    f"PUT {KEYS}/{{api_key}}",
    f"POST {KEYS}/{{api_key}}/rotate",
    f"DELETE {KEYS}/delete/{{api_key}}",
    f"POST {KEYS}/verify",
    "$default",
}


@check(
    MAIN,
    ("        DefaultAuthorizer: AWS_IAM\n", ""),
    ("Properties: { ApiId: !Ref Api }", "Properties: { ApiId: !Ref Api, Auth: { Authorizer: NONE } }"),
    ("Method: GET, Path: /es/api/v1/credentials/api_keys }", "Method: GET, Path: /es/api/v1/credentials/api_keys/ }"),
    ("{api_key}/rotate\" }", "rotate/{api_key}\" }"),
)
def every_route_asks_for_a_signature(text):
    stack = Stack(text)
    same(set(stack.of_type("AWS::ApiGatewayV2::Api")), {"Api"})
    body = stack["Api"]["Body"]
    same(set(routes(body)), ROUTES)
    for route, operation in routes(body).items():
        same(operation.get("security"), [{"AWS_IAM": []}], route)
        assert "<ApiFunctionAliaslive>" in operation["x-amazon-apigateway-integration"]["uri"], "an unpublished version"
        same(operation["x-amazon-apigateway-integration"]["payloadFormatVersion"], "2.0")
    same(body["components"]["securitySchemes"]["AWS_IAM"]["x-amazon-apigateway-authtype"], "awsSigv4")
    assert "x-amazon-apigateway-cors" not in body and "CorsConfiguration" not in stack["Api"]


@check(
    MAIN,
    ("$default: { ThrottlingRateLimit: 10,", "$default: { ThrottlingRateLimit: 1,"),
    ("api_keys: { ThrottlingRateLimit: 1,", "api_keys: { ThrottlingRateLimit: 100,"),
    ("        GET /es/api/v1/credentials/api_keys: {", "        GET /es/api/v1/credentials/api_keys/: {"),
)
def throttles(text):
    stack = Stack(text, ThrottleRate=50)
    stage = stack["ApiApiGatewayDefaultStage"]
    same(stage["DefaultRouteSettings"], {"ThrottlingRateLimit": 50, "ThrottlingBurstLimit": 50})
    same(stage["RouteSettings"], {
        LIST: {"ThrottlingRateLimit": 1, "ThrottlingBurstLimit": 5},
        "$default": {"ThrottlingRateLimit": 10, "ThrottlingBurstLimit": 20},
    })
    same(set(stage["RouteSettings"]) - set(routes(stack["Api"]["Body"])), set(), "settings of routes that don't exist")


@check(
    MAIN,
    ("$context.routeKey", "$context.path $context.routeKey"),
    ("$context.error.responseType", "$context.error.message"),
)
def access_log(text):
    stage = Stack(text)["ApiApiGatewayDefaultStage"]
    format = stage["AccessLogSettings"]["Format"]
    assert "routeKey" in json.loads(format)["route"] and "\n" not in format
    same(log_variables(format) - HARMLESS_VARIABLES, set(), "variables that may hold a key")
