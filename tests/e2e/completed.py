"""MiniStack with checks of AWS that it lacks. emulator.py runs this file in place of `python -m ministack`.

Each is written from AWS's documentation of it. Without them, wrong conditions and missing permissions in the templates would
go unnoticed. They replace functions of MiniStack by name, so its version is pinned.
"""

import contextvars
import json
import re

from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import apigateway, apigateway_v1, iam, lambda_svc
from ministack.services.cloudformation import provisioners


def leading_keys(table_keys, action, request):
    """`dynamodb:LeadingKeys`: the partition keys that a request names, here for the tables' only one, `service`.

    Each part of a transaction is authorized as an action of its own. Parts with the same action are taken together here, which
    makes no difference to ForAllValues.
    """
    operation = action.removeprefix("dynamodb:").removesuffix("Item")
    if "TransactItems" in request:
        parts = [part[operation] for part in request["TransactItems"] if operation in part]
    else:
        parts = [request]
    found = []
    for part in parts:
        key = part.get("Key") or part.get("Item") or {}
        if table_keys in key:
            found.append(key[table_keys]["S"])
        elif "KeyConditionExpression" in part:  # `service = :service AND ...`, perhaps with a placeholder for the name
            names = part.get("ExpressionAttributeNames", {})
            name, _, value = part["KeyConditionExpression"].split(" AND ")[0].split()
            if names.get(name, name) == table_keys:
                found.append(part["ExpressionAttributeValues"][value]["S"])
    return found or None


def complete_condition_keys():
    dynamodb_context, tag_context = iam_actions.dynamodb_service_context, iam_actions.request_tag_context
    enforce, resolve, resource = iam_evaluator.enforce, iam_evaluator._resolve_condition_key, iam_actions.extract_resource_arn

    def with_request(body):
        return dynamodb_context(body) | {"tests:Request": json.loads(body or b"{}")}

    def with_mac_algorithm(service, action, body, params):
        context = tag_context(service, action, body, params)
        if service == "kms" and action in ("kms:GenerateMac", "kms:VerifyMac"):
            context["kms:MacAlgorithm"] = json.loads(body).get("MacAlgorithm")
        return context

    def with_leading_keys(access_key, action, service, region, resource_arn="*", service_context=None):
        context = dict(service_context or {})
        request = context.pop("tests:Request", None)
        if request is not None:
            context["dynamodb:LeadingKeys"] = leading_keys("service", action, request)
        return enforce(access_key, action, service, region, resource_arn=resource_arn, service_context=context)

    def with_role(key, context):
        """`aws:PrincipalArn` of a role's session is the role's ARN with its path, not the session's."""
        if key.lower() == "aws:principalarn" and ":assumed-role/" in context.principal_arn:
            role = iam._roles.get(iam_evaluator._role_name_from_assumed_arn(context.principal_arn))
            return role["Arn"] if role else None
        return resolve(key, context)

    def with_log_stream(service, method, path, headers, body, params, region, account):
        """Policies for log streams name the group's ARN with `:*` at its end."""
        arn = resource(service, method, path, headers, body, params, region, account)
        stream = json.loads(body).get("logStreamName") if service == "logs" else None
        return f"{arn}:log-stream:{stream}" if stream else arn

    iam_actions.extract_resource_arn = with_log_stream
    iam_actions.dynamodb_service_context = with_request
    iam_actions.request_tag_context = with_mac_algorithm
    iam_evaluator.enforce = with_leading_keys
    iam_evaluator._resolve_condition_key = with_role


def complete_permissions():
    """API Gateway invokes a function only if the function's policy admits the API's route or authorizer."""
    function_of = lambda_svc._get_func_record_for_ref_in_scope
    invoked = contextvars.ContextVar("invoked")

    def remembered(reference, account_id=None, region=None):
        invoked.set((reference, account_id, region))
        return function_of(reference, account_id=account_id, region=region)

    def admitted(event):
        reference, account, region = invoked.get()
        policy, _ = lambda_svc.function_policy_for_arn(reference) or ({}, None)
        context = iam_evaluator.EvalContext(
            principal_arn="*",
            principal_type="Service",
            principal_account="",
            action="lambda:InvokeFunction",
            resource_arn=reference,
            region=region,
            service_context={"aws:sourcearn": source(event, account, region), "aws:sourceaccount": account},
        )
        return iam_evaluator.evaluate_resource_policy(policy, context, service="apigateway.amazonaws.com").decision == "Allow"

    def source(event, account, region):
        request = event.get("requestContext", {})
        arn = event.get("routeArn") or event.get("methodArn")
        if arn:  # the event of an authorizer
            return f"{arn.split('/')[0]}/authorizers/1"
        if "http" in request:
            route = request["routeKey"]
            called = route if route == "$default" else request["http"]["method"] + request["http"]["path"]
        else:
            called = request["httpMethod"] + event["path"]
        return f"arn:aws:execute-api:{region}:{account}:{request['apiId']}/{request['stage']}/{called}"

    def checked(run):
        async def checked_run(call, *arguments, **options):
            if call is lambda_svc._execute_function_with_config_scope and not admitted(arguments[1]):
                return {"body": {"errorMessage": "no permission to invoke the function"}, "error": True}
            return await run(call, *arguments, **options)

        return checked_run

    lambda_svc._get_func_record_for_ref_in_scope = remembered
    for module in (apigateway, apigateway_v1):
        module.run_reentrant = checked(module.run_reentrant)


def complete_authorizers():
    """API Gateway evaluates the conditions of an authorizer's policy, for the caller's address.

    Tests say in X-Forwarded-For what that is; AWS takes it from the connection. It is also in the events, and may be an
    identity source of the cache.
    """
    address = contextvars.ContextVar("address")
    sources_of_http, sources_of_rest = apigateway._request_authorizer_identity_sources, apigateway_v1._request_identity_sources
    invoke = apigateway._invoke_request_authorizer_lambda

    def evaluated(policy, arn):
        context = iam_evaluator.EvalContext(
            principal_arn="*",
            principal_type="Anonymous",
            principal_account="",
            action="execute-api:Invoke",
            resource_arn=arn,
            region=arn.split(":")[3],
            source_ip=address.get(),
        )
        return iam_evaluator.evaluate(context, [iam_evaluator.parse_policy_document(policy)]).decision

    def with_address(authorize):
        async def authorized(*arguments):
            headers = arguments[6]
            address.set(headers.get("x-forwarded-for", "127.0.0.1"))
            return await authorize(*arguments)

        return authorized

    def http_sources(sources, headers, query, variables, context=None):
        return sources_of_http(sources, headers, query, variables, (context or {}) | {"identity.sourceIp": address.get()})

    def rest_sources(sources, *arguments):
        names = [name.strip() for name in sources.split(",")]
        known = [name for name in names if name != "context.identity.sourceIp"]
        present, values = sources_of_rest(",".join(known), *arguments)
        return present, values + [address.get()] * (len(names) - len(known))

    async def invoked(authorizer, event, *arguments):
        request = event["requestContext"]
        request.setdefault("http" if event.get("version") == "2.0" else "identity", {})["sourceIp"] = address.get()
        return await invoke(authorizer, event, *arguments)

    apigateway._evaluate_authorizer_policy = apigateway_v1._evaluate_policy = evaluated
    apigateway._authorize_request_v2 = with_address(apigateway._authorize_request_v2)
    apigateway_v1._authorize_request_v1 = with_address(apigateway_v1._authorize_request_v1)
    apigateway._request_authorizer_identity_sources = http_sources
    apigateway_v1._request_identity_sources = rest_sources
    apigateway._invoke_request_authorizer_lambda = invoked


def complete_caches():
    """The authorizers' cache of a stage can be emptied, if the caller may: apigateway:DELETE. REST APIs, then HTTP APIs."""

    def emptied(module, pattern, status):
        handle = module.handle_request

        async def handled(method, path, *arguments):
            found = re.fullmatch(pattern, path)
            if method != "DELETE" or not found:
                return await handle(method, path, *arguments)
            for key in [key for key in module._authorizer_cache if (key[2], key[4]) == found.groups()]:
                del module._authorizer_cache[key]
            return status, {}, b""

        module.handle_request = handled

    emptied(apigateway_v1, "/restapis/([^/]+)/stages/([^/]+)/cache/authorizers", 202)
    emptied(apigateway, "/v2/apis/([^/]+)/stages/([^/]+)/cache/authorizers", 204)


def complete_usage_plans():
    """With ApiKeySourceType AUTHORIZER, the authorizer names the API Gateway API key, and its cache keeps that too.

    Gateway responses know what the authorizer passed on.
    """
    named, passed_on = contextvars.ContextVar("named", default=None), contextvars.ContextVar("passed on", default={})
    invoke, evaluate = apigateway_v1._invoke_authorizer_lambda, apigateway_v1._evaluate_policy
    check, respond = apigateway_v1._check_api_key, apigateway_v1._gateway_error_response
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::RestApi"]
    create = handlers["create"]

    async def invoked(*arguments):
        result = await invoke(*arguments)
        response = result and result.get("body")
        if isinstance(response, (str, bytes)):
            response = result["body"] = json.loads(response)
        if response and "policyDocument" in response:  # which is what the cache holds
            response["policyDocument"]["tests:Response"] = {name: response.get(name) for name in ("usageIdentifierKey", "context")}
        return result

    def evaluated(policy, arn):
        response = policy["tests:Response"]
        named.set(response["usageIdentifierKey"])
        passed_on.set(response["context"])
        return evaluate({name: value for name, value in policy.items() if name != "tests:Response"}, arn)

    def checked(method, api, stage, headers):
        if apigateway_v1._rest_apis[api].get("apiKeySource") == "AUTHORIZER":
            headers = {"x-api-key": named.get() or ""}
        return check(method, api, stage, headers)

    def responded(error, request):
        status, headers, body = respond(error, request)
        text = re.sub(r"\$context\.authorizer\.(\w+)", lambda found: str(passed_on.get().get(found[1], "")), body.decode())
        return status, headers, text.encode()

    def created(logical_id, properties, stack):
        made = create(logical_id, properties, stack)
        apigateway_v1._rest_apis[made[0]]["apiKeySource"] = properties.get("ApiKeySourceType", "HEADER")
        for kind, response in properties.get("Body", {}).get("x-amazon-apigateway-gateway-responses", {}).items():
            apigateway_v1._put_gateway_response(made[0], kind, response)
        return made

    apigateway_v1._invoke_authorizer_lambda, apigateway_v1._evaluate_policy = invoked, evaluated
    apigateway_v1._check_api_key, apigateway_v1._gateway_error_response = checked, responded
    handlers["create"] = created


def complete_trust():
    """Lambda gets a role's credentials only if the role trusts it."""
    credentials = lambda_svc.execution_credentials

    def trusted(config):
        role = iam._roles[config["Role"].rsplit("/", 1)[-1]]
        statements = json.loads(role["AssumeRolePolicyDocument"])["Statement"]
        admitted = [statement["Principal"] for statement in statements if "sts:AssumeRole" in statement["Action"]]
        if not any(iam_evaluator._service_principal_matches(principal, "lambda.amazonaws.com") for principal in admitted):
            raise RuntimeError("The role defined for the function cannot be assumed by Lambda.")
        return credentials(config)

    for module in (lambda_svc, lambda_runtime):
        module.execution_credentials = trusted


if __name__ == "__main__":
    complete_condition_keys()
    complete_permissions()
    complete_authorizers()
    complete_caches()
    complete_usage_plans()
    complete_trust()
    from ministack.app import main

    main()
