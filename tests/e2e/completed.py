"""MiniStack with checks of AWS that it lacks. emulator.py runs this file in place of `python -m ministack`.

Each is written from AWS's documentation of it. Without them, wrong conditions in the templates would go unnoticed. They
replace functions of MiniStack by name, so its version is pinned.
"""

import contextvars
import functools
import json
import re

from ministack.app import main
from ministack.core import iam_actions, iam_evaluator
from ministack.services import apigateway, apigateway_v1, iam
from ministack.services.cloudformation import provisioners

usage_plan_key = contextvars.ContextVar("usage plan key", default=None)


def replaces(module, name):
    """Puts a function in the place of MiniStack's, which it gets as its first argument."""

    def register(function):
        setattr(module, name, functools.partial(function, getattr(module, name)))
        return function

    return register


# ------------------------------------------------------------------------------------------- condition keys of policies


@replaces(iam_actions, "dynamodb_service_context")
def with_request(original, body):
    return original(body) | {"tests:Request": json.loads(body or b"{}")}


@replaces(iam_evaluator, "enforce")
def with_leading_keys(original, access_key, action, service, region, resource_arn="*", service_context=None):
    context = dict(service_context or {})
    if (request := context.pop("tests:Request", None)) is not None:
        context["dynamodb:LeadingKeys"] = leading_keys(action, request)
    return original(access_key, action, service, region, resource_arn=resource_arn, service_context=context)


def leading_keys(action, request):
    """The partition keys that a request names, here the values of `service`.

    Each part of a transaction is authorized as an action of its own. Parts with the same action are taken together here,
    which makes no difference to ForAllValues.
    """
    operation = action.removeprefix("dynamodb:").removesuffix("Item")
    parts = [part.get(operation, {}) for part in request["TransactItems"]] if "TransactItems" in request else [request]
    found = [key["service"]["S"] for part in parts if (key := part.get("Key") or part.get("Item"))]
    if "KeyConditionExpression" in request:  # `service = :service AND ...`, perhaps with a placeholder for the name
        name, _, value = request["KeyConditionExpression"].split(" AND ")[0].split()
        assert request.get("ExpressionAttributeNames", {}).get(name, name) == "service"
        found.append(request["ExpressionAttributeValues"][value]["S"])
    return found or None


@replaces(iam_actions, "request_tag_context")
def with_mac_algorithm(original, service, action, body, params):
    context = original(service, action, body, params)
    if action in ("kms:GenerateMac", "kms:VerifyMac"):
        context["kms:MacAlgorithm"] = json.loads(body).get("MacAlgorithm")
    return context


@replaces(iam_evaluator, "_resolve_condition_key")
def with_role(original, key, context):
    """`aws:PrincipalArn` of a role's session is the role's ARN with its path, not the session's."""
    if key.lower() == "aws:principalarn" and ":assumed-role/" in context.principal_arn:
        role = iam._roles.get(iam_evaluator._role_name_from_assumed_arn(context.principal_arn))
        return role["Arn"] if role else None
    return original(key, context)


@replaces(iam_actions, "extract_resource_arn")
def with_log_stream(original, service, method, path, headers, body, *more):
    """Policies for log streams name the group's ARN with `:*` at its end."""
    arn = original(service, method, path, headers, body, *more)
    stream = json.loads(body).get("logStreamName") if service == "logs" else None
    return f"{arn}:log-stream:{stream}" if stream else arn


# --------------------------------------------------------------------------------------------- API Gateway's authorizers


@replaces(apigateway, "_evaluate_authorizer_policy")
@replaces(apigateway_v1, "_evaluate_policy")
def with_conditions(original, policy, arn):
    """The conditions of an authorizer's policy count, also if it comes from the cache."""
    usage_plan_key.set(policy.get("tests:UsagePlanKey"))
    caller = {"principal_arn": "*", "principal_type": "Anonymous", "principal_account": ""}
    asked = {"action": "execute-api:Invoke", "resource_arn": arn, "region": arn.split(":")[3]}
    context = iam_evaluator.EvalContext(**caller, **asked)
    policy = {name: value for name, value in policy.items() if not name.startswith("tests:")}
    return iam_evaluator.evaluate(context, [iam_evaluator.parse_policy_document(policy)]).decision


@replaces(apigateway_v1, "_invoke_authorizer_lambda")
async def with_usage_plan_key(original, *arguments):
    """With ApiKeySourceType AUTHORIZER, the authorizer names the API Gateway API key, and the cache keeps that too."""
    result = await original(*arguments)
    response = result and result.get("body")
    if isinstance(response, (str, bytes)):
        response = result["body"] = json.loads(response)
    if response and "policyDocument" in response:
        response["policyDocument"]["tests:UsagePlanKey"] = response.get("usageIdentifierKey")
    return result


@replaces(apigateway_v1, "_check_api_key")
def with_key_source(original, method, api, stage, headers):
    if apigateway_v1._rest_apis[api].get("apiKeySource") == "AUTHORIZER":
        headers = {"x-api-key": usage_plan_key.get() or ""}
    return original(method, api, stage, headers)


# The authorizers' cache of a stage can be emptied, if the caller may: apigateway:DELETE.
async def with_caches(pattern, status, module, original, method, path, *arguments):
    found = re.fullmatch(pattern, path)
    if method != "DELETE" or not found:
        return await original(method, path, *arguments)
    for key in [key for key in module._authorizer_cache if (key[2], key[4]) == found.groups()]:
        del module._authorizer_cache[key]
    return status, {}, b""


for gateway, pattern, status in (
    (apigateway_v1, "/restapis/([^/]+)/stages/([^/]+)/cache/authorizers", 202),
    (apigateway, "/v2/apis/([^/]+)/stages/([^/]+)/cache/authorizers", 204),
):
    replaces(gateway, "handle_request")(functools.partial(with_caches, pattern, status, gateway))


def create_rest_api(original, logical_id, properties, stack):
    made = original(logical_id, properties, stack)
    apigateway_v1._rest_apis[made[0]]["apiKeySource"] = properties.get("ApiKeySourceType", "HEADER")
    return made


if __name__ == "__main__":
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::RestApi"]
    handlers["create"] = functools.partial(create_rest_api, handlers["create"])
    main()
