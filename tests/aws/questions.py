"""What only AWS can prove: each function is a question with an expectation, and returns whether it holds and what was seen.

They run in this order, in one deployment.
"""

import collections
import contextlib
import datetime
import itertools
import re
import time

from account import ROOT, Failed, Stack, code_of
from botocore.exceptions import ClientError

APIS = ("HttpApiUrl", "RestApiUrl")
FUNCTIONS = ("ApiFunction", "AuthorizerFunction")
GUARDS = ("ApiErrorsAlarm", "RequestFailedAlarm", "AuthorizerErrorsAlarm", "StartFailedAlarm")
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")  # of a config's `routes`
# With this, a read key may POST /items. It is as long as it may be, and so are the versions' descriptions.
READ_ROUTES = "POST /items,PUT /".ljust(64, "x")

# Which partitions of the table ("" is the keys' own) a role opens by which operation.
OPENS = {
    "ApiFunctionRole": {
        "get_item": {"", "#idem", "#meta", "#use"},
        "put_item": {"", "#idem", "#use"},
        "update_item": {"", "#idem", "#meta", "#use"},
        "delete_item": {""},
        "query": {"", "#use"},
    },
    "AuthorizerFunctionRole": {"get_item": {"", "#meta"}, "put_item": {"#use"}},
}
OPERATIONS = ("get_item", "put_item", "update_item", "delete_item", "query")
PARTITIONS = ("", "#idem", "#meta", "#use", "2")

Question = collections.namedtuple("Question", "text expected ask skipped")  # why an emulator can't answer it, or nothing
QUESTIONS = []


def question(text, expected, emulator=""):
    return lambda ask: QUESTIONS.append(Question(text, expected, ask, emulator))


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def template(path):
    """A template of the repository that keeps nothing when its stack is deleted."""
    text = (ROOT / path).read_text().replace("DeletionProtectionEnabled: true", "DeletionProtectionEnabled: false")
    return re.sub(r"^ +(DeletionPolicy|UpdateReplacePolicy): .*\n", "", text, flags=re.MULTILINE)


class Deployment:
    """The repository's stacks in an account."""

    def __init__(self, account):
        self.account, self.client = account, account.client
        example, probe = "examples/protected-api/template.yaml", "tests/aws/probe.yaml"
        paths = ("template.yaml", "stacks/monitoring.yaml", example, probe)
        stacks = [Stack(account, name, template(path)) for name, path in zip(account.stacks, paths)]
        self.keys, self.monitoring, self.protected, self.probe = stacks
        self.usage_plan_key = f"{account.name}-usage-plan-key-of-the-proof"

    def deploy(self):
        self.keys.deploy(ServiceName=self.account.name)
        own, has_role = {"KeysStack": self.keys.name}, self.client("apigateway").get_account().get("cloudwatchRoleArn")
        self.protected.deploy(AuthorizerCacheSeconds=300, SetUpRestApiLogging="false" if has_role else "true", **own)
        groups = self.protected.outputs["UsageLogGroups"]
        self.monitoring.deploy(Monitored=f"/gaia-api-keys/{self.keys.name}", UsageLogGroups=groups)
        self.probe.deploy(UsagePlanKey=self.usage_plan_key, TrailBucket=self.account.bucket, **own)

    def change(self, meanwhile=lambda: None, **parameters):
        """Deploys the keys' stack with other parameters; its status."""
        try:
            self.keys.deploy(meanwhile=meanwhile, **parameters)
        except Failed as failure:
            return failure.status
        return "UPDATE_COMPLETE"

    def statuses(self, key, method="GET"):
        """Of requests to both protected APIs."""
        return [self.protected.call(api, method, key=key).status for api in APIS]

    def echo(self, api, method, path):
        """What the probe's gateway says of a request."""
        return self.probe.call(api, method, path, key="probe")

    def live(self, function):
        """The version that a function's alias names, and its variables."""
        name = self.keys.resource(function)
        found = self.client("lambda").get_function_configuration(FunctionName=name, Qualifier="live")
        return found["Version"], found["Environment"]["Variables"]

    def logged(self, group, text):
        """How many log entries have a text."""
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group, filterPattern=f'"{text}"')
        return sum(len(page["events"]) for page in pages)

    def is_in(self, state, *alarms):
        names = [self.keys.resource(alarm) for alarm in alarms]
        found = self.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
        return all(alarm["StateValue"] == state for alarm in found)

    def fired(self, alarm, since):
        history = self.client("cloudwatch").describe_alarm_history
        items = history(AlarmName=alarm, HistoryItemType="StateUpdate", StartDate=since)["AlarmHistoryItems"]
        return any(item["HistorySummary"].endswith("to ALARM") for item in items)

    def calm(self):
        """Waits until no alarm that guards a deployment fires."""
        self.account.wait("the alarms", lambda: self.is_in("OK", *GUARDS), 1200)


@question("Which route takes a path with a trailing slash?", "the route without it, and both get the same response")
def trailing_slash(here):
    statuses = [here.keys.send("GET", path).status for path in ("", "/")]
    route = here.echo("HttpApiUrl", "GET", "/exact/").json["route"]
    return (statuses, route) == ([200, 200], "GET /exact"), f"{route}; list {statuses[0]}, list with a slash {statuses[1]}"


@question("Which path does an authorizer judge if the caller encodes it?", "the path that the backend gets")
def encoded_path(here):
    seen, same = [], []
    for api, sent in itertools.product(APIS, ("a%20b", "a%2Fb", "%2E%2E/b", "%252e")):
        response = here.echo(api, "GET", f"/proxy/{sent}")
        text = f"{response.status}"
        if response.status == 200:
            judged, got = "/" + response.json["arn"].split("/GET/")[-1], response.json["path"]
            same.append(judged == got)
            text = f"judged {judged}, backend {got}"
        seen.append(f"/proxy/{sent}: {text}")
    return bool(same) and all(same), "; ".join(seen)


@question(
    "What does the authorizer's ARN name on ANY, {proxy+} and $default routes?",
    "the request, or no method at all: a key with routes is denied, and never allowed another route",
)
def arn(here):
    seen, right = [], []
    for api, path in (("HttpApiUrl", "/any"), ("HttpApiUrl", "/proxy/x"), ("HttpApiUrl", "/other"), ("RestApiUrl", "/any")):
        method, _, named = here.echo(api, "POST", path).json["arn"].split("/", 2)[2].partition("/")
        seen.append(f"{api.removesuffix('ApiUrl').upper()} {path}: {method} /{named}")
        right.append((method, named) == ("POST", path[1:]) or method not in METHODS)
    return all(right), "; ".join(seen)


@question("Does a gateway evaluate a cached policy for the request at hand?", "yes: method, expires_at and allowed_ips")
def cached_policy(here):
    pause = here.account.pause
    moment = now() + datetime.timedelta(seconds=9 * pause)
    address = here.echo("HttpApiUrl", "GET", "/any").json["address"]
    expires = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    key = here.keys.create(permissions="read", expires_at=expires, allowed_ips=[address])
    seen = {"allowed": here.statuses(key)}
    here.keys.send("DELETE", f"/delete/{key[:31]}").expect(200)
    seen |= {"deleted but cached": here.statuses(key), "POST": here.statuses(key, "POST")}
    time.sleep(9 * pause)
    seen["expired"] = here.statuses(key)
    time.sleep(3 * pause)  # for the log
    seen["denials by the authorizer"] = here.logged(here.keys.outputs["AuthorizerLogGroup"], key[:31])
    expected = [[200, 200], [200, 200], [403, 403], [403, 403], 0]
    return list(seen.values()) == expected, ", ".join(f"{when} {what}" for when, what in seen.items())


@question("Does a cached usageIdentifierKey count against its usage plan?", "yes: some 200s, then 429, and never 403")
def usage_plan(here):
    key = here.keys.create(permissions="read", usage_plan_key=here.usage_plan_key)
    seen = [here.probe.call("RestApiUrl", path="/metered", key=key).status for _ in range(40)]
    return seen[0] == 200 and set(seen) == {200, 429}, str(dict(collections.Counter(seen)))


@question(
    "Do DynamoDB and KMS evaluate dynamodb:LeadingKeys, kms:MacAlgorithm and aws:PrincipalArn?",
    "yes: each role opens its own partitions, its table, its KMS key and its algorithm only",
)
def roles(here):
    wrong, outputs = [], here.keys.outputs
    for role in OPENS:
        calls = list(rights(here.keys, role, here.account.name))
        wrong += [f"{role} {call.__name__} {given}" for expected, call, given in calls if allowed(call, given) != expected]
    for partition in PARTITIONS:
        key = arguments("get_item", here.account.name + partition)
        here.client("dynamodb").delete_item(TableName=outputs["TableName"], **key)
    mac = {"KeyId": outputs["KmsKeyId"], "Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}
    if not here.account.emulated and allowed(here.client("kms").generate_mac, mac):  # an emulator's root user may do everything
        wrong.append("the caller may use the KMS key")
    return not wrong, "; ".join(wrong) or "yes"


def rights(keys, role, service):
    """Calls as a role of the keys' stack: whether it may, the call, and what it is given."""
    (dynamodb, kms), outputs = keys.as_role(role, "dynamodb", "kms"), keys.outputs
    table, mac = {"TableName": outputs["TableName"]}, {"KeyId": outputs["KmsKeyId"], "Message": b"x"}
    for operation, suffix in itertools.product(OPERATIONS, PARTITIONS):
        asked = table | arguments(operation, service + suffix)
        yield suffix in OPENS[role].get(operation, ()), getattr(dynamodb, operation), asked
        if operation == "put_item":  # the parts of a transaction are authorized one by one
            parts = [{"Put": table | arguments("put_item", f"{service}{each}")} for each in (suffix, "#use")]
            yield suffix in OPENS[role]["put_item"], dynamodb.transact_write_items, {"TransactItems": parts[: 1 + (suffix != "#use")]}
    yield False, dynamodb.scan, table
    yield False, dynamodb.get_item, arguments("get_item", service) | {"TableName": "another-table"}
    yield True, kms.generate_mac, mac | {"MacAlgorithm": "HMAC_SHA_256"}
    yield False, kms.generate_mac, mac | {"MacAlgorithm": "HMAC_SHA_384"}
    yield False, kms.verify_mac, mac | {"MacAlgorithm": "HMAC_SHA_256", "Mac": b"x" * 32}
    yield False, kms.disable_key, {"KeyId": outputs["KmsKeyId"]}


def arguments(operation, partition):
    key = {"service": {"S": partition}, "id": {"S": "proof"}}
    if operation == "query":
        return {"KeyConditionExpression": "service = :s", "ExpressionAttributeValues": {":s": {"S": partition}}}
    return {"Item": key} if operation == "put_item" else {"Key": key}


def allowed(call, given):
    try:
        call(**given)
    except ClientError as error:
        if "AccessDenied" in str(error):
            return False
        if code_of(error) != "ValidationException" and "InvalidKeyUsage" not in code_of(error):
            raise
    return True


@question("Does the access log have key_id?", "yes, of both APIs", emulator="API Gateway writes no access log there")
def access_log(here):
    key = here.keys.create(permissions="read")
    statuses = here.statuses(key)
    for group in here.protected.outputs["UsageLogGroups"].split(","):
        here.account.wait(group, lambda: here.logged(group, key[:31]))
    return statuses == [200, 200], "yes"


@question("Do the saved queries run?", "each completes", emulator="no saved queries there")
def saved_queries(here):
    logs, seen = here.client("logs"), {}
    for query in logs.describe_query_definitions(queryDefinitionNamePrefix=here.monitoring.name)["queryDefinitions"]:
        asked = {"logGroupNames": query["logGroupNames"], "queryString": query["queryString"]}
        started = logs.start_query(startTime=int(time.time()) - 3600, endTime=int(time.time()), **asked)["queryId"]

        def ended():
            status = logs.get_query_results(queryId=started)["status"]
            return None if status in ("Scheduled", "Running") else status

        seen[query["name"].split("/", 1)[1]] = here.account.wait(query["name"], ended)
    return set(seen.values()) == {"Complete"}, str(seen)


@question("Does a changed parameter publish a version?", "of both functions, with the new value, and the next request sees it")
def parameter(here):
    before = [here.live(function)[0] for function in FUNCTIONS]
    status = here.change(ReadRoutes=READ_ROUTES, Tracing="Active", DeploymentType="AllAtOnce")
    versions, variables = zip(*map(here.live, FUNCTIONS))
    published = [new != old for new, old in zip(versions, before)]
    values = [each["READ_ROUTES"] == READ_ROUTES for each in variables]
    opened = here.statuses(here.keys.create(permissions="read"), "POST")
    seen = f"{status}, published: {published}, value: {values}, request: {opened}"
    return (status, published, values, opened) == ("UPDATE_COMPLETE", [True] * 2, [True] * 2, [200] * 2), seen


@question("Does X-Ray get traces with Tracing=Active?", "yes", emulator="no X-Ray there")
def tracing(here):
    name, xray = here.keys.resource("ApiFunction"), here.client("xray")

    def traces():
        here.keys.reason("none")
        window = {"StartTime": now() - datetime.timedelta(minutes=10), "EndTime": now()}
        return xray.get_trace_summaries(FilterExpression=f'service("{name}")', **window)["TraceSummaries"]

    return bool(here.account.wait("a trace", traces)), "yes"


@question("What do protected APIs respond if the authorizer can't start?", "500, and 200 again as soon as it can")
def authorizer_fails_to_start(here):
    # New instances can't start. Those that run go on.
    with here.keys.denied("AuthorizerFunctionRole", "kms:GenerateMac"):
        status = here.change(Tracing="PassThrough")
        key = here.keys.create(permissions="read")
        failed = here.statuses(key)
    here.account.wait("the authorizer starts", lambda: here.statuses(key) == [200, 200])
    return (status, failed) == ("UPDATE_COMPLETE", [500, 500]), f"{failed}, then [200, 200]"


@question("Does DynamoDB's metric of PutItem count neither transactions nor failed conditions?", "yes", "no such metric there")
def put_item_metric(here):
    dynamodb, table = here.client("dynamodb"), here.keys.outputs["TableName"]
    time.sleep(60 - time.time() % 60)
    start, item = now().replace(second=0, microsecond=0), {"service": {"S": "proof"}, "id": {"S": "proof"}}
    here.keys.create()
    dynamodb.put_item(TableName=table, Item=item)
    with contextlib.suppress(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(id)")
    dynamodb.delete_item(TableName=table, Key=item)

    def counted():
        dimensions = [{"Name": "TableName", "Value": table}, {"Name": "Operation", "Value": "PutItem"}]
        metric = {"Namespace": "AWS/DynamoDB", "MetricName": "SuccessfulRequestLatency", "Dimensions": dimensions}
        minute = {"StartTime": start, "EndTime": start + datetime.timedelta(minutes=1), "Period": 60}
        found = here.client("cloudwatch").get_metric_statistics(Statistics=["SampleCount"], **metric, **minute)
        return sum(point["SampleCount"] for point in found["Datapoints"])

    here.account.wait("the metric", counted, 900)
    time.sleep(120)  # until it is complete
    return counted() == 1, f"one create, one PutItem, one whose condition failed: {counted():.0f} counted"


@question("Do events of the KMS key reach the log group, and its alarm fires?", "yes", emulator="no CloudTrail there")
def kms_event(here):
    kms, key, since = here.client("kms"), here.keys.outputs["KmsKeyId"], now()
    kms.put_key_policy(KeyId=key, Policy=kms.get_key_policy(KeyId=key)["Policy"])  # the same again
    group, alarm = f"/aws/events/{here.keys.name}/kms", here.monitoring.resource("KmsKeyAlarm")
    here.account.wait("an event of KMS", lambda: here.logged(group, "PutKeyPolicy"), 1200)
    here.account.wait("KmsKeyAlarm", lambda: here.fired(alarm, since), 600)
    return True, "yes"


@question("Does an alarm roll a canary back?", "StartFailedAlarm fires; the old version serves", emulator="no CodeDeploy there")
def rollback(here):
    here.calm()
    assert here.change(DeploymentType="Canary10Percent5Minutes") == "UPDATE_COMPLETE"
    since, before = now(), here.live("ApiFunction")[0]

    def traffic():
        for _ in range(20):
            here.keys.send("POST", "/verify", {"api_key": "none"})  # whatever the response is

    with here.keys.denied("ApiFunctionRole", "kms:GenerateMac"):
        status = here.change(traffic, ReadRoutes="POST /rollback")
    after, fired = here.live("ApiFunction")[0], here.fired(here.keys.resource("StartFailedAlarm"), since)
    seen = f"{status}, fired: {fired}, version {before}, then {after}"
    return (status, after, fired) == ("UPDATE_ROLLBACK_COMPLETE", before, True), seen


@question("Can the deployment that an alarm rolled back be deployed again?", "UPDATE_COMPLETE", emulator="no CodeDeploy there")
def same_again(here):
    here.calm()
    status = here.change(ReadRoutes="POST /rollback")
    live = here.live("ApiFunction")[1]["READ_ROUTES"]
    return (status, live) == ("UPDATE_COMPLETE", "POST /rollback"), f"{status}, the value is there: {live == 'POST /rollback'}"


@question("Which deployment gets through while an alarm fires?", "no canary, but AllAtOnce", emulator="no CodeDeploy there")
def during_alarm(here):
    pushed = 0.0

    def fire():
        nonlocal pushed
        if time.monotonic() - pushed > 30:
            metric = {"MetricName": "StartFailed", "Value": 3}
            here.client("cloudwatch").put_metric_data(Namespace=f"GaiaApiKeys/{here.keys.name}", MetricData=[metric])
            pushed = time.monotonic()

    def firing():
        fire()
        return here.is_in("ALARM", "StartFailedAlarm")

    here.account.wait("StartFailedAlarm", firing, 900)
    canary = here.change(fire, ReadRoutes="POST /canary")
    here.account.wait("StartFailedAlarm", firing, 900)
    at_once = here.change(fire, ReadRoutes="POST /at-once", DeploymentType="AllAtOnce")
    firing_still = here.is_in("ALARM", "StartFailedAlarm")
    seen = f"canary {canary}, AllAtOnce {at_once}, the alarm fires still: {firing_still}"
    return firing_still and (canary, at_once) == ("UPDATE_ROLLBACK_COMPLETE", "UPDATE_COMPLETE"), seen
