"""What only AWS can prove: each function is a question with an expectation, and returns whether it holds and what was seen.

They run in this order, in one deployment.
"""

import contextlib
import dataclasses
import datetime
import functools
import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from account import DENIED, FUNCTION_ROLES, Account, Failed, Response
from botocore.exceptions import ClientError

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEYS = "/es/api/v1/credentials/api_keys"
FUNCTIONS = ("ApiFunction", "AuthorizerFunction")
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")  # of a config's `routes`
# With this, a read key may POST /items. It is as long as it may be, and so are the versions' descriptions.
READ_ROUTES = "POST /items,PUT /".ljust(80, "x")
Answer = tuple[bool, str]


@dataclasses.dataclass(frozen=True)
class Question:
    text: str
    expected: str
    ask: Callable[["Deployment"], Answer]
    skipped: str  # why an emulator can't answer it; empty if it can


QUESTIONS: list[Question] = []


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)



class Skip(Exception):
    """Nobody can answer the question now; the text says why."""


def question(text: str, expected: str, emulator: str = "") -> Callable[[Callable[["Deployment"], Answer]], None]:
    return lambda ask: QUESTIONS.append(Question(text, expected, ask, emulator))


class Deployment:
    """The repository's stacks in an account."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.keys, self.monitoring, self.protected, self.probe = account.stacks
        self.template = (ROOT / "template.yaml").read_text()
        self.usage_plan_key = f"{account.name}-usage-plan-key-of-the-proof"

    def deploy(self) -> None:
        account = self.account
        account.deploy(self.keys, self.template, {"ServiceName": account.name})
        example = (ROOT / "examples/protected-api/template.yaml").read_text()
        has_role = bool(account.client("apigateway").get_account().get("cloudwatchRoleArn"))
        parameters = {"KeysStack": self.keys, "SetUpRestApiLogging": "false" if has_role else "true"}
        account.deploy(self.protected, example, parameters | {"AuthorizerCacheSeconds": "300"})
        monitoring = (ROOT / "stacks/monitoring.yaml").read_text()
        parameters = {"UsageLogGroups": account.outputs(self.protected)["UsageLogGroups"]}
        account.deploy(self.monitoring, monitoring, parameters | {"Monitored": f"/gaia-api-keys/{self.keys}"})
        probe = (ROOT / "tests/aws/probe.yaml").read_text()
        parameters = {"UsagePlanKey": self.usage_plan_key, "TrailBucket": account.bucket}
        account.deploy(self.probe, probe, parameters | {"KeysStack": self.keys})

    def change(self, meanwhile: Callable[[], None] = lambda: None, **parameters: str) -> str:
        """Deploys the keys' stack with other parameters; its status."""
        try:
            self.account.deploy(self.keys, self.template, parameters, meanwhile)
        except Failed as failure:
            return failure.status
        return "UPDATE_COMPLETE"

    def manage(self, method: str, path: str = "", body: Any = None) -> Response:
        url = self.account.outputs(self.keys)["ApiUrl"]
        return self.account.send(method, url + KEYS + path, body, credentials=self.account.credentials)

    def create(self, **config: Any) -> str:
        response = self.manage("POST", body={"config": config})
        assert response.status == 200, f"{response.status}: {response.text}"
        return str(response.json["api_key"])

    def items(self, api: str, key: str, method: str = "GET") -> int:
        """Status of a request to a protected API, by its output's name."""
        url = self.account.outputs(self.protected)[api]
        return self.account.send(method, url, headers={"authorization": f"Search {key}"}).status

    def echo(self, api: str, method: str, path: str) -> Response:
        """What the probe's gateway says of a request."""
        url = self.account.outputs(self.probe)[api]
        return self.account.send(method, url + path, headers={"authorization": "probe"})

    def live(self, function: str) -> Any:
        """The configuration of the version that a function's alias names."""
        name = self.account.resource(self.keys, function)
        return self.account.client("lambda").get_function_configuration(FunctionName=name, Qualifier="live")

    def log(self, group: str, pattern: str = "") -> list[Any]:
        """The log entries that match a filter pattern."""
        pages = self.account.client("logs").get_paginator("filter_log_events")
        found = [event for page in pages.paginate(logGroupName=group, filterPattern=pattern) for event in page["events"]]
        return [json.loads(event["message"]) for event in found if event["message"].startswith("{")]

    @contextlib.contextmanager
    def without_root_key(self, role: str) -> Iterator[None]:
        """New instances of this role's function can't start. Those that run go on."""
        iam, name = self.account.client("iam"), self.account.resource(self.keys, role)
        statement = {"Effect": "Deny", "Action": "kms:GenerateMac", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam.put_role_policy(RoleName=name, PolicyName=DENIED, PolicyDocument=document)
        try:
            time.sleep(4 * self.account.pause)  # until it is in force
            yield
        finally:
            iam.delete_role_policy(RoleName=name, PolicyName=DENIED)

    def is_in(self, alarm: str, state: str) -> bool:
        found = self.account.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
        return bool(found[0]["StateValue"] == state)

    def fired(self, alarm: str, since: datetime.datetime) -> bool:
        cloudwatch = self.account.client("cloudwatch")
        history = cloudwatch.describe_alarm_history(AlarmName=alarm, HistoryItemType="StateUpdate", StartDate=since)
        return any(item["HistorySummary"].endswith("to ALARM") for item in history["AlarmHistoryItems"])

    def calm(self) -> None:
        """Waits until no alarm that guards a deployment fires."""
        for name in ("ApiErrorsAlarm", "RequestFailedAlarm", "AuthorizerErrorsAlarm", "StartFailedAlarm"):
            alarm = self.account.resource(self.keys, name)
            self.account.wait(name, functools.partial(self.is_in, alarm, "OK"), 1200)


@question("Which route takes a path with a trailing slash?", "the route without it, and both get the same response")
def trailing_slash(here: Deployment) -> Answer:
    statuses = [here.manage("GET", path).status for path in ("", "/")]
    route = here.echo("HttpApiUrl", "GET", "/exact/").json["route"]
    return (statuses, route) == ([200, 200], "GET /exact"), f"{route}; list {statuses[0]}, list with a slash {statuses[1]}"


@question("Which path does an authorizer judge if the caller encodes it?", "the path that the backend gets")
def encoded_path(here: Deployment) -> Answer:
    seen, same = [], []
    for api in ("HttpApiUrl", "RestApiUrl"):
        for sent in ("/proxy/a%20b", "/proxy/a%2Fb", "/proxy/%2e%2e/b", "/proxy/%252e"):
            response = here.echo(api, "GET", sent)
            if response.status == 200:
                judged, got = "/" + response.json["arn"].split("/GET/")[-1], response.json["path"]
                same.append(judged == got)
                seen.append(f"{sent}: judged {judged}, backend {got}")
            else:
                seen.append(f"{sent}: {response.status}")
    return bool(same) and all(same), "; ".join(seen)


@question(
    "What does the authorizer's ARN name on ANY, {proxy+} and $default routes?",
    "the request, or no method at all: a key with routes is denied, and never allowed another route",
)
def arn(here: Deployment) -> Answer:
    requests = [("HttpApiUrl", "/any"), ("HttpApiUrl", "/proxy/x"), ("HttpApiUrl", "/other"), ("RestApiUrl", "/any")]
    seen, right = [], []
    for api, path in requests:
        method, _, named = here.echo(api, "POST", path).json["arn"].split("/", 2)[2].partition("/")
        seen.append(f"{api.removesuffix('ApiUrl').upper()} {path}: {method} /{named}")
        right.append((method, named) == ("POST", path[1:]) or method not in METHODS)
    return all(right), "; ".join(seen)


@question("Does a gateway evaluate a cached policy for the request at hand?", "yes: method, expires_at and allowed_ips")
def cached_policy(here: Deployment) -> Answer:
    seen = []
    for api in ("HttpApiUrl", "RestApiUrl"):
        moment = now() + datetime.timedelta(seconds=9 * here.account.pause)
        address = here.echo("HttpApiUrl", "GET", "/any").json["address"]
        key = here.create(permissions="read", expires_at=moment.strftime("%Y-%m-%dT%H:%M:%SZ"), allowed_ips=[address])
        first = here.items(api, key)
        assert here.manage("DELETE", f"/delete/{key[:31]}").status == 200
        cached, written = here.items(api, key), here.items(api, key, "POST")
        time.sleep(9 * here.account.pause)
        expired = here.items(api, key)
        time.sleep(3 * here.account.pause)  # for the log
        asked = len(here.log(here.account.outputs(here.keys)["AuthorizerLogGroup"], f'{{ $.key_id = "{key[:31]}" }}'))
        seen.append((first, cached, written, expired, asked))
    text = "allowed {}, deleted but cached {}, POST {}, expired {}, denials by the authorizer {}"
    return set(seen) == {(200, 200, 403, 403, 0)}, "; ".join(text.format(*each) for each in seen)


@question("Does a cached usageIdentifierKey count against its usage plan?", "yes: some 200s, then 429, and never 403")
def usage_plan(here: Deployment) -> Answer:
    if "DEFAULT_USAGE_PLAN_KEY" not in here.template:
        raise Skip("the authorizer returns no usageIdentifierKey yet")
    headers = {"authorization": f"Search {here.create(permissions='read', usage_plan_key=here.usage_plan_key)}"}
    url = here.account.outputs(here.probe)["RestApiUrl"] + "/metered"
    seen = [here.account.send("GET", url, headers=headers).status for _ in range(40)]
    counts = {status: seen.count(status) for status in sorted(set(seen))}
    return seen[0] == 200 and set(seen) == {200, 429}, str(counts)


@question(
    "Do DynamoDB and KMS evaluate dynamodb:LeadingKeys, kms:MacAlgorithm and aws:PrincipalArn?",
    "yes: each role opens its own partitions, its table, its KMS key and its algorithm only",
)
def roles(here: Deployment) -> Answer:
    outputs, service = here.account.outputs(here.keys), here.account.name
    table, generate = {"TableName": outputs["TableName"]}, {"KeyId": outputs["KmsKeyId"], "Message": b"x"}

    def item(partition: str) -> dict[str, Any]:
        return {"service": {"S": partition}, "id": {"S": "proof"}}

    def put(partition: str) -> dict[str, Any]:
        return {"Put": {**table, "Item": item(partition)}}

    wrong = []
    for role in FUNCTION_ROLES:
        client, is_api = here.account.twin(role), role == "ApiFunctionRole"
        dynamodb, kms = client("dynamodb"), client("kms")
        calls: list[tuple[bool, Callable[..., Any], dict[str, Any]]] = [
            (True, dynamodb.get_item, {**table, "Key": item(service)}),
            (True, dynamodb.get_item, {**table, "Key": item(f"{service}#meta")}),
            (True, dynamodb.put_item, {**table, "Item": item(f"{service}#use")}),
            (True, kms.generate_mac, {**generate, "MacAlgorithm": "HMAC_SHA_256"}),
            (is_api, dynamodb.put_item, {**table, "Item": item(f"{service}#idem")}),
            (is_api, dynamodb.delete_item, {**table, "Key": item(service)}),
            (is_api, dynamodb.transact_write_items, {"TransactItems": [put(f"{service}#idem"), put(f"{service}#use")]}),
            (False, dynamodb.transact_write_items, {"TransactItems": [put(f"{service}#use"), put("another")]}),
            (False, dynamodb.get_item, {**table, "Key": item("another")}),
            (False, dynamodb.put_item, {**table, "Item": item("another")}),
            (False, dynamodb.scan, table),
            (False, kms.generate_mac, {**generate, "MacAlgorithm": "HMAC_SHA_384"}),
        ]
        # A new role's policies take a while to be in force.
        here.account.wait(role, lambda: allowed(*calls[0][1:]) and allowed(*calls[2][1:]))
        wrong += [f"{role} {call.__name__} {given}" for expected, call, given in calls if allowed(call, given) != expected]
    for partition in ("#use", "#idem"):
        here.account.client("dynamodb").delete_item(**table, Key=item(f"{service}{partition}"))
    administrator = here.account.client("kms").generate_mac, {**generate, "MacAlgorithm": "HMAC_SHA_256"}
    if not here.account.emulated and allowed(*administrator):  # an emulator's root user may do everything
        wrong.append("the caller may use the KMS key")
    return not wrong, "; ".join(wrong) or "yes"


def allowed(call: Callable[..., Any], given: dict[str, Any]) -> bool:
    try:
        call(**given)
    except ClientError as error:
        code, text = error.response["Error"]["Code"], str(error)
        if "AccessDenied" in code or "AccessDenied" in text:
            return False
        if code != "ValidationException" and "InvalidKeyUsage" not in code:
            raise
    return True


@question("Does the access log have key_id?", "yes, of both APIs", emulator="API Gateway writes no access log there")
def access_log(here: Deployment) -> Answer:
    key = here.create(permissions="read")
    statuses = [here.items(api, key) for api in ("HttpApiUrl", "RestApiUrl")]
    groups = here.account.outputs(here.protected)["UsageLogGroups"].split(",")
    for group in groups:
        here.account.wait(group, lambda: here.log(group, f'{{ $.key_id = "{key[:31]}" }}'))
    return statuses == [200, 200], "yes"


@question("Do the saved queries run?", "each completes", emulator="no saved queries there")
def saved_queries(here: Deployment) -> Answer:
    logs, seen = here.account.client("logs"), {}
    for query in logs.describe_query_definitions(queryDefinitionNamePrefix=here.monitoring)["queryDefinitions"]:
        window = {"startTime": int(time.time()) - 3600, "endTime": int(time.time())}
        groups, text = query["logGroupNames"], query["queryString"]
        started = logs.start_query(logGroupNames=groups, queryString=text, **window)["queryId"]

        def ended() -> str | None:
            status = logs.get_query_results(queryId=started)["status"]
            return None if status in ("Scheduled", "Running") else status

        seen[query["name"].split("/", 1)[1]] = here.account.wait(query["name"], ended)
    return bool(seen) and set(seen.values()) == {"Complete"}, str(seen)


@question("Does a changed parameter publish a version?", "of both functions, with the new value, and the next request sees it")
def parameter(here: Deployment) -> Answer:
    before = {function: here.live(function)["Version"] for function in FUNCTIONS}
    status = here.change(ReadRoutes=READ_ROUTES, Tracing="Active", DeploymentType="AllAtOnce")
    after = {function: here.live(function) for function in FUNCTIONS}
    published = all(after[name]["Version"] != before[name] for name in FUNCTIONS)
    set_there = all(after[name]["Environment"]["Variables"]["READ_ROUTES"] == READ_ROUTES for name in FUNCTIONS)
    key = here.create(permissions="read")
    opened = here.items("HttpApiUrl", key, "POST")
    seen = f"{status}, published: {published}, value: {set_there}, request: {opened}"
    return published and set_there and (status, opened) == ("UPDATE_COMPLETE", 200), seen


@question("Does X-Ray get traces with Tracing=Active?", "yes", emulator="no X-Ray there")
def tracing(here: Deployment) -> Answer:
    name, xray = here.account.resource(here.keys, "ApiFunction"), here.account.client("xray")

    def traces() -> Any:
        here.manage("POST", "/verify", {"api_key": "none"})
        end = now()
        window = {"StartTime": end - datetime.timedelta(minutes=10), "EndTime": end}
        return xray.get_trace_summaries(FilterExpression=f'service("{name}")', **window)["TraceSummaries"]

    return bool(here.account.wait("a trace", traces)), "yes"


@question("What do protected APIs respond if the authorizer can't start?", "500, and 200 again as soon as it can")
def authorizer_fails_to_start(here: Deployment) -> Answer:
    apis = ("HttpApiUrl", "RestApiUrl")
    with here.without_root_key("AuthorizerFunctionRole"):
        status = here.change(Tracing="PassThrough")
        key = here.create(permissions="read")
        failed = [here.items(api, key) for api in apis]
    here.account.wait("the authorizer starts", lambda: [here.items(api, key) for api in apis] == [200, 200])
    return (status, failed) == ("UPDATE_COMPLETE", [500, 500]), f"{failed}, then [200, 200]"


@question("Does DynamoDB's metric of PutItem count neither transactions nor failed conditions?", "yes", "no such metric there")
def put_item_metric(here: Deployment) -> Answer:
    dynamodb, table = here.account.client("dynamodb"), here.account.outputs(here.keys)["TableName"]
    time.sleep(60 - time.time() % 60)
    start = now().replace(second=0, microsecond=0)
    here.create()
    item = {"service": {"S": "proof"}, "id": {"S": "proof"}}
    dynamodb.put_item(TableName=table, Item=item)
    with contextlib.suppress(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(id)")
    dynamodb.delete_item(TableName=table, Key=item)
    here.account.wait("the metric", lambda: put_items(here, table, start), 900)
    time.sleep(120)  # until it is complete
    counted = put_items(here, table, start)
    return counted == 1, f"one create, one PutItem, one whose condition failed: {counted:.0f} counted"


def put_items(here: Deployment, table: str, start: datetime.datetime) -> float:
    found = here.account.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/DynamoDB",
        MetricName="SuccessfulRequestLatency",
        Dimensions=[{"Name": "TableName", "Value": table}, {"Name": "Operation", "Value": "PutItem"}],
        StartTime=start,
        EndTime=start + datetime.timedelta(minutes=1),
        Period=60,
        Statistics=["SampleCount"],
    )
    return float(sum(point["SampleCount"] for point in found["Datapoints"]))


@question("Do events of the KMS key reach the log group, and its alarm fires?", "yes", emulator="no CloudTrail there")
def kms_event(here: Deployment) -> Answer:
    kms, key, since = here.account.client("kms"), here.account.outputs(here.keys)["KmsKeyId"], now()
    kms.put_key_policy(KeyId=key, Policy=kms.get_key_policy(KeyId=key)["Policy"])  # the same again
    group, alarm = f"/aws/events/{here.keys}/kms", here.account.resource(here.monitoring, "KmsKeyAlarm")
    here.account.wait("an event of KMS", lambda: here.log(group, '{ $.detail.eventName = "PutKeyPolicy" }'), 1200)
    here.account.wait("KmsKeyAlarm", lambda: here.fired(alarm, since), 600)
    return True, "yes"


@question("Does an alarm roll a canary back?", "StartFailedAlarm fires; the old version serves", emulator="no CodeDeploy there")
def rollback(here: Deployment) -> Answer:
    here.calm()
    assert here.change(DeploymentType="Canary10Percent5Minutes") == "UPDATE_COMPLETE"
    since = now()
    before, alarm = here.live("ApiFunction")["Version"], here.account.resource(here.keys, "StartFailedAlarm")

    def traffic() -> None:
        for _ in range(20):
            here.manage("POST", "/verify", {"api_key": "none"})

    with here.without_root_key("ApiFunctionRole"):
        status = here.change(traffic, ReadRoutes="POST /rollback")
    after, fired = here.live("ApiFunction")["Version"], here.fired(alarm, since)
    seen = f"{status}, fired: {fired}, version {before}, then {after}"
    return (status, after, fired) == ("UPDATE_ROLLBACK_COMPLETE", before, True), seen


@question("Can the deployment that an alarm rolled back be deployed again?", "UPDATE_COMPLETE", emulator="no CodeDeploy there")
def same_again(here: Deployment) -> Answer:
    here.calm()
    status = here.change(ReadRoutes="POST /rollback")
    live = here.live("ApiFunction")["Environment"]["Variables"]["READ_ROUTES"]
    return (status, live) == ("UPDATE_COMPLETE", "POST /rollback"), f"{status}, the value is there: {live == 'POST /rollback'}"


@question("Which deployment gets through while an alarm fires?", "no canary, but AllAtOnce", emulator="no CodeDeploy there")
def during_alarm(here: Deployment) -> Answer:
    cloudwatch, alarm = here.account.client("cloudwatch"), here.account.resource(here.keys, "StartFailedAlarm")
    pushed = 0.0

    def fire() -> None:
        nonlocal pushed
        if time.monotonic() - pushed > 30:
            metric = {"MetricName": "StartFailed", "Value": 3}
            cloudwatch.put_metric_data(Namespace=f"GaiaApiKeys/{here.keys}", MetricData=[metric])
            pushed = time.monotonic()

    def firing() -> bool:
        fire()
        return here.is_in(alarm, "ALARM")

    here.account.wait("StartFailedAlarm", firing, 900)
    canary = here.change(fire, ReadRoutes="POST /canary")
    here.account.wait("StartFailedAlarm", firing, 900)
    at_once = here.change(fire, ReadRoutes="POST /at-once", DeploymentType="AllAtOnce")
    firing_still = here.is_in(alarm, "ALARM")
    seen = f"canary {canary}, AllAtOnce {at_once}, the alarm fires still: {firing_still}"
    return firing_still and (canary, at_once) == ("UPDATE_ROLLBACK_COMPLETE", "UPDATE_COMPLETE"), seen
