"""Checks of a deployment: what an operator gets wrong, and whether a key works from its creation to its deletion."""

from __future__ import annotations

import datetime
import email.utils
import fnmatch
import functools
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import click

from gaia_keys import changes, options, root_keys, times
from gaia_keys.api import Api
from gaia_keys.aws import Stack
from gaia_keys.commands import log
from gaia_keys.commands.stack import GROUP, firing, known, live, next_step
from gaia_keys.connection import Connection, located
from gaia_keys.errors import Failed, Stopped, of_aws
from gaia_keys.keys import ID_LENGTH, Key
from gaia_keys.output import COLOURS, coloured, print_json, printable

FUNCTIONS = ("ApiFunction", "AuthorizerFunction")
DENIED = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation")
# Days for which a second root key is no surprise.
REPLACING = 90
NAME = "gaia-keys doctor"
# Whoever may do one of these with the KMS key can make API keys.
USES = ("kms:GenerateMac", "kms:CreateGrant")
RESPOND = "docs/operations.md says what to do about each alarm"


class Finding(NamedTuple):
    result: str
    what: str
    next_step: str = ""


Findings = Iterator[Finding]
ok = functools.partial(Finding, "ok")
warn = functools.partial(Finding, "warn")
fail = functools.partial(Finding, "FAIL")


def denied(error: Exception) -> bool:
    response = getattr(error, "response", None) or {}  # None: there was no response
    return response.get("Error", {}).get("Code") in DENIED


def not_checked(operation: str) -> Finding:
    return warn(f"not checked: you may not call {operation}", "gaia-keys doctor --help lists the IAM actions")


class Deployment:
    """A stack, and what several checks need of it."""

    def __init__(self, where: Connection) -> None:
        self.where = where
        self.stack: Stack = where.deployed()
        self.client = self.stack.client
        self.found = self.stack.describe()
        self.parameters = known(self.stack)
        self.primary: str | None = None  # the root key that signed the newest key

    @functools.cached_property
    def api(self) -> Api:
        return self.where.api()

    @functools.cached_property
    def keys(self) -> list[Key]:
        return list(self.api.keys())

    @functools.cached_property
    def functions(self) -> dict[str, dict[str, Any]]:
        return {name: live(self.stack, name) for name in FUNCTIONS}

    @functools.cached_property
    def kms_keys(self) -> list[str]:
        """The primary root key's, and the secondary's if there is one."""
        return [each for each in (self.stack.output("KmsKeyId"), self.parameters["SecondaryKmsKeyId"]) if each]

    @functools.cached_property
    def monitoring(self) -> list[Stack]:
        """The stacks that watch this one, described."""
        pages = self.client("cloudformation").get_paginator("describe_stacks").paginate()
        name = {"ParameterKey": "Monitored", "ParameterValue": f"/gaia-api-keys/{self.stack.name}"}
        return [
            Stack(self.stack.account, each["StackName"])
            for each in pages.search("Stacks[]")
            if any(name.items() <= parameter.items() for parameter in each.get("Parameters", []))
        ]


def clock(it: Deployment) -> Findings:
    response = it.client("sts").get_caller_identity()
    off = abs(times.now() - email.utils.parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"]))
    if off > datetime.timedelta(minutes=1):
        yield fail(f"this machine's clock is off by {off}", "set it: AWS rejects signatures from 5 minutes on")
    else:
        yield ok(f"this machine's clock is right; you are {response['Arn']}")


def status(it: Deployment) -> Findings:
    found = it.found["StackStatus"]
    if found.endswith("_IN_PROGRESS"):
        yield warn(f"{it.stack.name} is {found}", "wait until it ends, and run this again")
    elif then := next_step(it.stack, found):
        yield fail(f"{it.stack.name} is {found} ({it.stack.reasons()})", then)
    elif "ROLLBACK" in found:
        yield warn(f"{it.stack.name} is {found}: {it.stack.reasons()}", "mend the cause, and deploy again")
    else:
        yield ok(f"{it.stack.name} is {found}")
    if it.parameters["DeploymentType"] == "AllAtOnce":
        default = "gaia-keys stack set DeploymentType=Canary10Percent5Minutes"
        yield warn("DeploymentType is AllAtOnce: no deployment is a canary, and no alarm stops one", default)


def functions(it: Deployment) -> Findings:
    versions = it.stack.resources("AWS::Lambda::Version").values()
    expected = {
        "SERVICE_NAME": it.parameters["ServiceName"],
        "TABLE_NAME": it.stack.output("TableName"),
        "KMS_KEY_ID": ",".join(it.kms_keys),
    }
    rests = not it.found["StackStatus"].endswith("_IN_PROGRESS")
    for name, config in it.functions.items():
        function = config["FunctionName"]
        variables = config["Environment"]["Variables"]
        alias = it.client("lambda").get_alias(FunctionName=function, Name="live")
        version = alias["FunctionVersion"]
        deployed = [arn.rsplit(":", 1)[1] for arn in versions if arn.rsplit(":", 2)[1] == function]
        weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        bad = []
        if weights and rests:
            share = ", ".join(f"{weight:.0%} of the requests to version {other}" for other, weight in weights.items())
            then = "stop it: aws deploy list-deployments --include-only-statuses InProgress; aws deploy stop-deployment"
            bad.append(fail(f"{name}: a deployment is stuck, which sends {share}", then))
        if rests and deployed and version not in deployed:
            then = f"aws lambda update-alias --function-name {function} --name live --function-version {deployed[0]}"
            what = f"{name}: somebody moved the alias to version {version}; the stack deployed {deployed[0]}"
            bad.append(fail(what, then))
        for variable, value in expected.items():
            if rests and variables.get(variable) != value:
                then = "somebody changed the function or a resource by hand: deploy the release again"
                bad.append(fail(f"{name}: {variable} is {variables.get(variable)}, and the stack has {value}", then))
        level = config.get("LoggingConfig", {}).get("ApplicationLogLevel", "INFO")
        if level not in ("INFO", "DEBUG", "TRACE"):
            then = "deploy the release again, which sets INFO"
            bad.append(fail(f"{name}: log level {level} leaves out the audit log and denials", then))
        yield from bad or [ok(f"{name} serves release {variables.get('RELEASE')}, version {version}")]


def guards(it: Deployment) -> Findings:
    """The alarms that guard a deployment."""
    names = list(it.stack.resources("AWS::CloudWatch::Alarm").values())
    found = it.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    gone = set(names) - {alarm["AlarmName"] for alarm in found}
    then = "deploy the release again"
    bad = [fail(f"the alarm {name} was deleted, so no deployment can start", then) for name in sorted(gone)]
    bad += [fail(f"{name} fires", f"gaia-keys log errors; {RESPOND}") for name in firing(found)]
    for group in it.stack.resources(GROUP).values():
        application = it.stack.resource("ServerlessDeploymentApplication")
        info = it.client("codedeploy").get_deployment_group(applicationName=application, deploymentGroupName=group)
        if not info["deploymentGroupInfo"].get("alarmConfiguration", {}).get("enabled"):
            bad.append(
                fail(f"deployments by {group} ignore alarms", "gaia-keys stack set --ignore-alarms puts it back")
            )
    yield from bad or [ok(f"alarms that guard a deployment: {len(found)}, and none fires")]


def notification(it: Deployment) -> Findings:
    """Whether somebody hears of an alarm."""
    if not it.monitoring:
        yield warn("no stack monitors this one: no alarm tells anybody", "deploy the monitoring stack (docs/deploy.md)")
        return
    current = it.client("ssm").get_parameter(Name=f"/gaia-api-keys/{it.stack.name}")["Parameter"]["Value"]
    for stack in it.monitoring:
        found = stack.describe()
        (watched,) = [each for each in found["Parameters"] if each["ParameterKey"] == "Monitored"]
        if watched.get("ResolvedValue", current) != current:
            yield fail(
                f"{stack.name} watches a table or a KMS key that isn't in use any more", f"deploy {stack.name} again"
            )
        yield from told(stack)
    trails = it.client("cloudtrail").describe_trails()["trailList"]
    statuses = (it.client("cloudtrail").get_trail_status(Name=trail["TrailARN"]) for trail in trails)
    if not any(each["IsLogging"] for each in statuses):
        then = "create a trail of management events in this Region"
        yield warn("no CloudTrail trail: KmsKeyAlarm hears of nothing", then)


def told(stack: Stack) -> Findings:
    """The alarms of a monitoring stack, and whom they tell."""
    kinds = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    names = [name for kind in kinds for name in stack.resources(kind).values()]
    page = stack.client("cloudwatch").describe_alarms(AlarmNames=names, AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    alarms = page["MetricAlarms"] + page["CompositeAlarms"]
    for name in firing(alarms):
        yield warn(f"{name} fires", RESPOND)
    silent = [alarm["AlarmName"] for alarm in alarms if not alarm["ActionsEnabled"]]
    if silent:
        yield fail(f"{', '.join(silent)}: actions are off", "aws cloudwatch enable-alarm-actions --alarm-names NAME")
    topics = {arn for alarm in alarms for arn in alarm["AlarmActions"] if ":sns:" in arn}
    if not topics:
        yield warn(f"the alarms of {stack.name} tell nobody", "deploy it with AlarmEmail or AlarmTopicArn")
    sns = stack.client("sns")
    for topic in sorted(topics):
        try:
            attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
        except sns.exceptions.NotFoundException:
            yield fail(f"the topic {topic} doesn't exist", f"deploy {stack.name} with another AlarmTopicArn")
            continue
        subscriptions = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        confirmed = [each for each in subscriptions if each["SubscriptionArn"].startswith("arn:")]
        bad = []
        if attributes.get("KmsMasterKeyId") == "alias/aws/sns":
            then = "encrypt it with a KMS key of yours"
            bad.append(fail(f"CloudWatch can't publish to {topic}: AWS's own key encrypts it", then))
        if not confirmed:
            waiting = ", ".join(each["Endpoint"] for each in subscriptions)
            then = f"open the mail that AWS sent to {waiting}" if waiting else "subscribe to it: aws sns subscribe"
            bad.append(fail(f"nobody is subscribed to {topic}", then))
        people = ", ".join(each["Endpoint"] for each in confirmed)
        yield from bad or [ok(f"{len(alarms)} alarms of {stack.name} tell {people}")]


def kms(it: Deployment) -> Findings:
    made = []
    for key_id in it.kms_keys:
        found = it.client("kms").describe_key(KeyId=key_id)["KeyMetadata"]
        made.append(found["CreationDate"])
        state, others = found["KeyState"], strangers(it, key_id)
        bad = []
        if state == "PendingDeletion":
            then = f"aws kms cancel-key-deletion --key-id {key_id}, then aws kms enable-key --key-id {key_id}"
            bad.append(fail(f"the KMS key {key_id} is to be deleted on {found['DeletionDate']:%Y-%m-%d}", then))
        elif state != "Enabled":
            then = f"aws kms enable-key --key-id {key_id}"
            bad.append(fail(f"the KMS key {key_id} is {state}: no function can start", then))
        if others:
            bad.append(fail(f"the policy of the KMS key {key_id} {others}", "gaia-keys root-key repair"))
        yield from bad or [ok(f"the KMS key {key_id} is enabled, for the functions only")]
    days = (times.now() - max(made)).days
    if len(made) == 2 and days > REPLACING:
        then = "gaia-keys root-key status, then gaia-keys root-key finish"
        yield warn(f"the secondary root key {it.kms_keys[1]} has been there for {days} days", then)


def strangers(it: Deployment, key_id: str) -> str:
    """Whom the policy of a KMS key admits beside the functions' roles, or that it doesn't admit these; else empty."""
    policy = json.loads(it.client("kms").get_key_policy(KeyId=key_id, PolicyName="default")["Policy"])
    roles = f"role/gaia-api-keys/{it.parameters['ServiceName']}/"
    admitted = False
    for statement in root_keys.listed(policy["Statement"]):
        names = "NotAction" if "NotAction" in statement else "Action"
        actions = [action.lower() for action in root_keys.listed(statement[names])]
        matching = {use for use in USES if any(fnmatch.fnmatch(use.lower(), action) for action in actions)}
        used = [use for use in USES if (use in matching) == (names == "Action")]
        if statement["Effect"] != "Allow" or not used:
            continue
        if roles not in json.dumps([statement.get("Principal"), statement.get("Condition")]):
            return f"lets others than the functions use it ({', '.join(used)})"
        admitted = True
    return "" if admitted else f"doesn't admit the roles under {roles}"


def table(it: Deployment) -> Findings:
    name, dynamodb = it.stack.output("TableName"), it.client("dynamodb")
    found = dynamodb.describe_table(TableName=name)["Table"]
    update = f"aws dynamodb update-table --table-name {name}"
    bad = []
    if found["TableStatus"] != "ACTIVE" or found.get("SSEDescription", {}).get("InaccessibleEncryptionDateTime"):
        then = "if TableKmsKeyArn is set, see to that KMS key (docs/deploy.md)"
        bad.append(fail(f"the table {name} is {found['TableStatus']} or can't be decrypted", then))
    schema = [(each["AttributeName"], each["KeyType"]) for each in found["KeySchema"]]
    if schema != [("service", "HASH"), ("id", "RANGE")]:
        bad.append(fail(f"the table {name} has another primary key", "set ExistingTableName to the right table"))
    if not found.get("DeletionProtectionEnabled"):
        bad.append(fail(f"the table {name} has no deletion protection", f"{update} --deletion-protection-enabled"))
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    if backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") != "ENABLED":
        then = f"aws dynamodb update-continuous-backups --table-name {name}"
        then += " --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        bad.append(fail(f"the table {name} has no point-in-time recovery: it can't be restored", then))
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if ttl["TimeToLiveStatus"] not in ("ENABLED", "ENABLING") or ttl.get("AttributeName") != "ttl":
        then = f"aws dynamodb update-time-to-live --table-name {name}"
        then += " --time-to-live-specification Enabled=true,AttributeName=ttl"
        bad.append(fail(f"the table {name} has no TTL on ttl: expired items stay for ever", then))
    yield from bad or [ok(f"the table {name} is protected, can be restored and has TTL")]


def logs(it: Deployment) -> Findings:
    days = int(it.parameters["LogRetentionDays"])
    for output in ("ApiLogGroup", "AuthorizerLogGroup", "AccessLogGroup"):
        name = it.stack.output(output)
        groups = it.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        kept = [group.get("retentionInDays") for group in groups if group["logGroupName"] == name]
        then = f"aws logs put-retention-policy --log-group-name {name} --retention-in-days {days}"
        if not kept:
            yield fail(f"the log group {name} doesn't exist", "deploy the release again, or create it")
        elif kept[0] is None:
            yield warn(f"the log group {name} keeps entries for ever", then)
        elif kept[0] < days:
            yield fail(f"the log group {name} keeps entries for {kept[0]} days, and LogRetentionDays is {days}", then)
        else:
            yield ok(f"the log group {name} keeps entries for {kept[0]} days")
    recent = log.Search(it.stack, "errors", None).since(times.now() - datetime.timedelta(hours=1))
    if recent:
        last = recent[-1].fields.get("message", "panic")
        what = f"{len(recent)} errors and warnings within the hour, the last one: {last}"
        yield warn(what, "gaia-keys log errors --since 1h")


def anonymous(it: Deployment) -> Findings:
    """Whether the management API is closed to those who don't sign."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(it.api.transport.base, timeout=30) as response:
            code = response.status
    except urllib.error.HTTPError as error:
        code = error.code
    except OSError as error:
        raise Failed(f"no response from {it.api.transport.origin}: {error.strerror or type(error).__name__}") from None
    if code in (401, 403):
        yield ok(f"{it.api.transport.origin} rejects unsigned requests ({code})")
    else:
        then = "check --url, and the API's authorizer"
        yield fail(f"{it.api.transport.origin} responds to unsigned requests with {code}", then)


def stored(it: Deployment) -> Findings:
    """Whether the table holds the keys of this service."""
    service, name = it.parameters["ServiceName"], it.stack.output("TableName")
    if it.keys:
        unreadable = sum(key.state == "unreadable" for key in it.keys)
        if unreadable:
            then = "gaia-keys list --json shows which"
            yield warn(f"{unreadable} of {len(it.keys)} keys are unreadable and denied", then)
        else:
            yield ok(f"{len(it.keys)} keys of service {service}")
        return
    page = it.client("dynamodb").scan(
        TableName=name, ProjectionExpression="#service", ExpressionAttributeNames={"#service": "service"}, Limit=1000
    )
    others = {item["service"]["S"].split("#")[0] for item in page["Items"]} - {service}
    if others:
        what = f"the table has no key of service {service}, and keys of {', '.join(sorted(others))}"
        yield fail(what, f"was ServiceName changed? gaia-keys stack set ServiceName={sorted(others)[0]}")
        return
    pages = it.client("dynamodb").get_paginator("list_tables").paginate()
    prefix = f"{it.stack.name}-Table-"
    tables = [each for each in pages.search("TableNames[]") if each.startswith(prefix) and each != name]
    if tables:
        then = "was ExistingTableName cleared? If not, delete those of failed first deployments (docs/deploy.md)"
        yield warn(f"there is no key, and the stack had other tables: {', '.join(tables)}", then)
    else:
        yield ok("there is no key yet")


def life(it: Deployment) -> Findings:
    """Creates a key, checks it, rotates it and deletes it. If this ends in between, the key expires within the hour."""
    expires = times.written(times.now() + datetime.timedelta(hours=1))
    secret = it.api.create({"name": NAME, "permissions": "read", "expires_at": expires})
    made, found = [secret[:ID_LENGTH]], []
    try:
        key = it.api.find(made[0])
        it.primary = key.details["root_key_id"]
        found += [verified(it, secret, "created", "read", None), verified(it, secret, "created", "write", "permission")]
        found += [authorized(it, secret)]
        new = it.api.rotate(key, {"grace_seconds": 0, "expires_at": expires}, str(uuid.uuid4())).api_key
        made.append(new[:ID_LENGTH])
        found += [verified(it, secret, "rotated", "read", "expired"), verified(it, new, "created", "read", None)]
    finally:
        for key_id in made:
            changes.delete(it.api, it.api.find(key_id))
    found += [verified(it, secret, "deleted", "read", "not_found")]
    bad = [each for each in found if each]
    yield from bad or [ok("a key was created, verified, allowed by the authorizer, rotated and deleted")]


def verified(it: Deployment, key: str, was: str, permission: str, reason: str | None) -> Finding | None:
    """None if the service says this of a key."""
    verdict = it.api.verify(key, {"permission": permission})
    if verdict.reason == reason:
        return None
    said, expected = verdict.reason or "valid", reason or "valid"
    what = f"verify says {said} of a key that was {was}, for {permission}; expected {expected}"
    return fail(what, "gaia-keys log errors; gaia-keys log denied")


def authorized(it: Deployment, key: str) -> Finding | None:
    """Asks the authorizer about a key that may read, as a gateway would. None if it allows it."""
    header = it.parameters["KeyHeader"].lower()
    event = {
        "version": "2.0",
        "type": "REQUEST",
        "routeArn": it.stack.output("ApiArn") + "/doctor/GET/doctor",
        "headers": {header: f"Search {key}" if header == "authorization" else key},
        "requestContext": {"http": {"method": "GET"}},
    }
    function, client = it.functions["AuthorizerFunction"]["FunctionName"], it.client("lambda")
    try:
        answer = client.invoke(FunctionName=function, Qualifier="live", Payload=json.dumps(event))
    except client.exceptions.ClientError as error:
        if not denied(error):
            raise
        return not_checked("Invoke")
    said = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        return fail("the authorizer failed: protected APIs respond with 500", "gaia-keys log errors")
    statements = said.get("policyDocument", {}).get("Statement", [])
    if said.get("isAuthorized") is True or any(statement["Effect"] == "Allow" for statement in statements):
        return None
    return fail("the authorizer denies a key that may read", "gaia-keys log denied")


def named_root_keys(it: Deployment) -> Findings:
    """Whether `#meta` names the primary root key, and whether all keys are under one that it names."""
    service = it.parameters["ServiceName"]
    named, until = root_keys.named(it.stack, service)
    newest = next((each for each in reversed(it.keys) if each.created), None)
    primary = it.primary or (newest and newest.details["root_key_id"])
    key, values = json.dumps(root_keys.item(service)), json.dumps({":ids": {"SS": [primary]}})
    then = f"if no other root key should sign: aws dynamodb update-item --table-name {it.stack.output('TableName')}"
    then += f" --key '{key}' --update-expression 'ADD ids :ids' --expression-attribute-values '{values}'"
    if until and until > times.now():
        yield warn(f"until {times.written(until)}, functions start with any root key", "wait, and run this again")
    if primary is None:
        yield ok("no root key has signed a key yet")
    elif primary not in named:
        names = ", ".join(sorted(named)) or "none"
        what = (
            f"{service}#meta doesn't name the root key {primary}, which signs (named: {names}): no function may start"
        )
        yield fail(what, then)
    else:
        yield ok(f"{service}#meta names the root key {primary}, which signs")
    full = it.parameters["KeyDisclosure"] == "full"
    active = [each for each in it.keys if each.state == "active"]
    lost = [each for each in active if each.details["root_key_id"] not in named or (full and each.api_key is None)]
    if lost:
        then = "gaia-keys root-key status; if it isn't to come back, rotate these keys or delete them"
        yield warn(f"{len(lost)} of {len(it.keys)} keys are invalid: their root key isn't configured", then)


CHECKS: list[tuple[str, Callable[[Deployment], Findings]]] = [
    ("clock", clock),
    ("stack", status),
    ("functions", functions),
    ("alarms", guards),
    ("notification", notification),
    ("KMS key", kms),
    ("table", table),
    ("logs", logs),
    ("access", anonymous),
    ("keys", stored),
    ("a key's life", life),
    ("root keys", named_root_keys),
]


def examined(it: Deployment, check: Callable[[Deployment], Findings]) -> Findings:
    """What a check finds, or why it can't be made."""
    try:
        yield from check(it)
    except (Failed, Stopped) as error:
        yield fail(str(error), "gaia-keys log errors; docs/troubleshooting.md")
    except Exception as error:
        if (message := of_aws(error)) is None:
            raise
        if denied(error):
            yield not_checked(getattr(error, "operation_name", ""))
        else:
            yield fail(message, "check --region and --profile; gaia-keys stack show")


@click.command(
    epilog=options.example("gaia-keys doctor", "gaia-keys doctor --read-only --json")
    + options.actions(
        "execute-api:Invoke                      on the management API: list; unless --read-only, all of it",
        "cloudformation:DescribeStacks           on all stacks: to find the one that monitors this one",
        "cloudformation:DescribeStackResource, DescribeStackEvents, ListStackResources",
        "cloudtrail:DescribeTrails, GetTrailStatus",
        "cloudwatch:DescribeAlarms",
        "codedeploy:GetDeploymentGroup",
        "dynamodb:DescribeTable, DescribeContinuousBackups, DescribeTimeToLive, GetItem, ListTables, Scan",
        "kms:DescribeKey, GetKeyPolicy",
        "lambda:GetAlias, GetFunctionConfiguration",
        "lambda:InvokeFunction                   on the authorizer; not with --read-only",
        "logs:DescribeLogGroups, FilterLogEvents",
        "sns:GetTopicAttributes, ListSubscriptionsByTopic",
        "ssm:GetParameter",
    )
)
@click.option(
    "--read-only", is_flag=True, help="Create no key. Otherwise, one is created, verified, rotated and deleted."
)
@options.as_json
@located
def doctor(where: Connection, read_only: bool, as_json: bool) -> int:
    """Check the deployment.

    Prints ok, warn or FAIL for each check, and what to do. What you may not see is a warning. Exits with 1 on a FAIL.
    """
    it = Deployment(where)
    rows = []
    for name, check in CHECKS:
        if read_only and check is life:
            continue
        for finding in examined(it, check):
            rows.append({"check": name, **finding._asdict()})
            if not as_json:
                print_finding(name, finding)
    if as_json:
        print_json(rows)
    return 1 if any(row["result"] == "FAIL" for row in rows) else 0


def print_finding(name: str, finding: Finding) -> None:
    """One line, however long: what to do must not be cut off."""
    end = "" if finding.what.endswith(("?", ".")) else "."
    line = f"  {name:14}{finding.what}{finding.next_step and f'{end} Next: {finding.next_step}'}"
    print(coloured(f"{finding.result:4}", COLOURS[finding.result], sys.stdout) + printable(line), flush=True)
