"""examples/protected-api/template.yaml, and that both stacks fit."""

import json

from check import HARMLESS_VARIABLES, as_list, check, same
from stack import EXAMPLE, MAIN, Stack, log_variables, routes


@check(
    EXAMPLE,
    ("        DefaultAuthorizer: ApiKey\n", ""),
    ("ReauthorizeEvery: !Ref AuthorizerCacheSeconds", "ReauthorizeEvery: 60"),
    ("Headers: [Authorization]", "Headers: [Authorization, X-Api-Key]"),
    ("$context.authorizer.key_id", "$context.authorizer.principalId"),
    (
        "Properties: { RestApiId: !Ref RestApi, Method: POST, Path: /items }",
        "Properties: { RestApiId: !Ref RestApi, Method: POST, Path: /items, Auth: { Authorizer: NONE } }",
    ),
)
def every_route_asks_the_authorizer(text):
    """Both APIs: every route asks the imported authorizer, by one header; the access log says which key it was."""
    stack = Stack(text, AuthorizerCacheSeconds=300)
    apis = [*stack.of_type("AWS::ApiGatewayV2::Api").values(), *stack.of_type("AWS::ApiGateway::RestApi").values()]
    same(len(apis), 2)
    for api in apis:
        same(set(routes(api["Body"])), {"GET /items", "POST /items"})
        for route, operation in routes(api["Body"]).items():
            same(operation.get("security"), [{"ApiKey": []}], route)
        scheme, = api["Body"]["components"]["securitySchemes"].values()
        authorizer = scheme["x-amazon-apigateway-authorizer"]
        assert "<import gaia-api-keys-AuthorizerArn>" in authorizer["authorizerUri"], authorizer["authorizerUri"]
        same(authorizer["type"], "request")
        same(authorizer["authorizerResultTtlInSeconds"], 300)
        same(as_list(authorizer["identitySource"])[0].lower().replace("method.", "$"), "$request.header.authorization")
        same(len(as_list(authorizer["identitySource"])), 1)
        assert "," not in as_list(authorizer["identitySource"])[0]
    same(Stack(text).parameters["AuthorizerCacheSeconds"], 0)
    stages = [
        *(s["AccessLogSettings"] for s in stack.of_type("AWS::ApiGatewayV2::Stage").values()),
        *(s["AccessLogSetting"] for s in stack.of_type("AWS::ApiGateway::Stage").values()),
    ]
    same(len(stages), 2)
    for log in stages:
        same(json.loads(log["Format"])["key_id"], "$context.authorizer.key_id")
        same(log_variables(log["Format"]) - HARMLESS_VARIABLES, set())
    same([p for p in stack.of_type("AWS::Lambda::Permission").values() if "import" in str(p["FunctionName"])], [])
    Stack(text, SetUpRestApiLogging="false")  # resolves


@check(
    EXAMPLE,
    ("EnableSimpleResponses: false", "EnableSimpleResponses: true"),
    ("${KeysStack}-AuthorizerArn", "${KeysStack}-Authorizer"),
)
def both_stacks_fit(text):
    """What the example imports is what template.yaml exports, and the simple-responses settings agree."""
    stack = Stack(text)
    exported = Stack(MAIN).outputs["AuthorizerArn"]["Export"]["Name"].replace("keys", stack.parameters["KeysStack"], 1)
    assert f"<import {exported}>" in json.dumps(stack["HttpApi"]["Body"])
    scheme, = stack["HttpApi"]["Body"]["components"]["securitySchemes"].values()
    simple = scheme["x-amazon-apigateway-authorizer"].get("enableSimpleResponses", False)
    same(str(simple).lower(), Stack(MAIN).parameters["SimpleResponses"])
