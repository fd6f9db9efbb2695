"""Logs, the alarms that guard a deployment, and stacks/monitoring.yaml."""

import json
import re

from check import ACTIONS, ADOPTED, KEY_ARN, KEY_IDS, check, same
from stack import LOG_GROUP_ARN, MAIN, MONITORING, Stack, monitoring

GUARDS = ["ApiErrorsAlarm", "RequestFailedAlarm", "AuthorizerErrorsAlarm", "StartFailedAlarm"]


def filters(stack):
    return {
        (f["LogGroupName"].strip("<>"), f["FilterPattern"], *f["MetricTransformations"][0].values())
        for f in stack.of_type("AWS::Logs::MetricFilter").values()
    }


def metrics(alarm):
    """Namespace and name of what an alarm watches."""
    if "MetricName" in alarm:
        return [(alarm["Namespace"], alarm["MetricName"])]
    return [tuple(m["MetricStat"]["Metric"][k] for k in ("Namespace", "MetricName")) for m in alarm["Metrics"] if "MetricStat" in m]


@check(
    MAIN,
    ("LogGroup: !Ref AuthorizerLogs", "LogGroup: !Ref ApiLogs"),
    ("AllowedValues: [60, 90,", "AllowedValues: [30, 60, 90,"),
    ("      SystemLogLevel: WARN\n", "      SystemLogLevel: INFO\n"),
)
def logs(text):
    stack = Stack(text)
    for name, group in stack.of_type("AWS::Logs::LogGroup").items():
        same(group.get("RetentionInDays"), 90, name)
    for function, group in (("ApiFunction", "ApiLogs"), ("AuthorizerFunction", "AuthorizerLogs")):
        same(stack[function]["LoggingConfig"], {
            "LogGroup": f"<{group}>", "LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN",
        })
    # A point in time of a table is up to 35 days ago, and its restore takes the audit log since then.
    assert min(stack.template["Parameters"]["LogRetentionDays"]["AllowedValues"]) >= 35


@check(
    MAIN,
    ("IF(failed >= 3, 100 * failed / requests, 0)", "failed"),
    ("IF(failed >= 3, ", "IF(failed >= 1, "),
    ("100 * failed / requests", "failed / requests"),
    ("      TreatMissingData: notBreaching\n", "      TreatMissingData: breaching\n"),
    ("MetricName: Invocations", "MetricName: Errors"),
    ("${ApiFunction}:live", "${ApiFunction}:prod"),
    ("${AuthorizerFunction}:live", "${ApiFunction}:live"),
    ('{ $.message = "start failed" }', '{ $.msg = "start failed" }'),
    ("      Threshold: 3\n", "      Threshold: 1\n"),
)
def guards(text):
    """A broken canary fires them at any rate of requests; one failure doesn't."""
    stack = Stack(text)
    same(filters(stack), {
        ("ApiLogs", '{ $.message = "start failed" }', "GaiaApiKeys/keys", "StartFailed", "1"),
        ("AuthorizerLogs", '{ $.message = "start failed" }', "GaiaApiKeys/keys", "StartFailed", "1"),
        ("ApiLogs", '{ $.message = "request failed" }', "GaiaApiKeys/keys", "RequestFailed", "1"),
    })
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    same(set(alarms), set(GUARDS))

    def of_alias(function, name):
        dimensions = [{"Name": "FunctionName", "Value": f"<{function}>"}, {"Name": "Resource", "Value": f"<{function}>:live"}]
        return {"Namespace": "AWS/Lambda", "MetricName": name, "Dimensions": dimensions}

    failures = {
        "ApiErrorsAlarm": of_alias("ApiFunction", "Errors"),
        "RequestFailedAlarm": {"Namespace": "GaiaApiKeys/keys", "MetricName": "RequestFailed"},
        "AuthorizerErrorsAlarm": of_alias("AuthorizerFunction", "Errors"),
    }
    for name, failed in failures.items():
        function = "AuthorizerFunction" if name.startswith("Authorizer") else "ApiFunction"
        rate, *counts = alarms[name]["Metrics"]
        assert {c["Id"]: c["MetricStat"]["Metric"] for c in counts} == {
            "failed": failed, "requests": of_alias(function, "Invocations"),
        }, name
        for count in counts:
            same((count["MetricStat"]["Stat"], count["MetricStat"]["Period"], count["ReturnData"]), ("Sum", 300, False), name)
        expression = re.sub(r"^IF\((.*), (.*), (.*)\)$", r"(\2) if (\1) else (\3)", rate["Expression"])
        for failed, requests, fires in ((1, 300_000, False), (2, 2, False), (3, 3, True), (30_000, 300_000, True), (30, 300_000, False)):
            value = eval(expression, {"failed": failed, "requests": requests})
            same(value >= alarms[name]["Threshold"], fires, (name, failed, requests))
    start = alarms["StartFailedAlarm"]
    same((start["Statistic"], start["Period"], start["Threshold"]), ("Sum", 300, 3))
    for name, alarm in alarms.items():
        same((alarm["ComparisonOperator"], alarm["EvaluationPeriods"]), ("GreaterThanOrEqualToThreshold", 1), name)
        same(alarm["TreatMissingData"], "notBreaching", name)


@check(
    MAIN,
    ("!Ref ApiLogs, !Ref AuthorizerLogs,", "!Ref AuthorizerLogs, !Ref ApiLogs,"),
    ("!Ref SecondaryKmsKeyId, none]", "!Ref SecondaryKmsKeyId, !Ref AWS::NoValue]"),
)
def what_is_monitored(text):
    """The list that stacks/monitoring.yaml reads. Its order is an interface between two stacks."""
    for parameters, table, keys in (({}, "<Table>", ["<KmsKey>", "none"]), (ADOPTED, "old-table", KEY_IDS[:2])):
        monitored = Stack(text, **parameters)["Monitored"]
        same((monitored["Name"], monitored["Type"]), ("/gaia-api-keys/keys", "StringList"))
        same(monitored["Value"].split(","), [
            "keys", "<Api>", "<ApiFunction>", "<AuthorizerFunction>", "<ApiLogs>", "<AuthorizerLogs>", table, *keys,
            *(f"<{name}>" for name in GUARDS),
        ])


@check(
    MONITORING,
    ("      TreatMissingData: notBreaching\n", "      TreatMissingData: breaching\n"),
    (":live", ":prod"),
    ("Value: TransactWriteItems }", "Value: BatchWriteItem }"),
    ("                - { Name: Operation, Value: PutItem }\n", "                - { Name: Operation, Value: GetItem }\n"),
    ("MetricName: ReadMaxOnDemandThroughputThrottleEvents", "MetricName: ReadKeyRangeThroughputThrottleEvents"),
    ("MetricName: ReadKeyRangeThroughputThrottleEvents", "MetricName: ReadThrottleEvents"),
    ("          MetricName: KmsKeyEvent\n", "          MetricName: KmsEvent\n"),
    ("[!Ref AlarmTopicArn], !Ref AWS::NoValue]", "[!Ref Topic], !Ref AWS::NoValue]"),
    ('OR ALARM("${D}")', 'OR ALARM("${C}")'),
    ("Protocol: email", "Protocol: https"),
    ("Principal: { Service: cloudwatch.amazonaws.com }", "Principal: { Service: events.amazonaws.com }"),
    ("      - Assert: !Equals [!Ref AlarmTopicArn, \"\"]", "      - Assert: !Equals [!Ref AlarmEmail, !Ref AlarmEmail]"),
)
def alarms(text):
    topic = "arn:aws:sns:us-east-1:111122223333:alarms"
    silent, loud = monitoring(text), monitoring(text, AlarmTopicArn=topic)
    mailed = monitoring(text, AlarmEmail="team@example.com")
    own = {(space, name) for _, _, space, name, _ in filters(silent)}
    alarms = silent.of_type("AWS::CloudWatch::Alarm")
    watched = {name: set(metrics(alarm)) for name, alarm in alarms.items()}
    of_service = {metric for found in watched.values() for metric in found if metric[0].startswith("GaiaApiKeys")}
    same(of_service, own, "metrics of our own without an alarm, or the reverse")
    same(own, {("GaiaApiKeys/keys", "Denied"), ("GaiaApiKeys/keys", "KmsKeyEvent")})
    same({name for found in watched.values() for space, name in found if space in ("AWS/Lambda", "AWS/ApiGateway")},
         {"5xx", "Latency", "Throttles", "Duration"})
    # Each alarm of throttled requests has causes of its own, as something else is to be done.
    causes = {name: {m.removeprefix("Read").removeprefix("Write").removesuffix("ThrottleEvents") for _, m in found}
              for name, found in watched.items() if any(m.endswith("ThrottleEvents") for _, m in found)}
    same(causes, {
        "TableThrottlesAlarm": {"MaxOnDemandThroughput", "AccountLimit"},
        "PartitionThrottlesAlarm": {"KeyRangeThroughput"},
    })
    same({name: len(alarms[name]["Metrics"]) - 1 for name in causes}, {"TableThrottlesAlarm": 4, "PartitionThrottlesAlarm": 2})
    for name, alarm in (alarms | silent.of_type("AWS::CloudWatch::CompositeAlarm")).items():
        same(alarm.get("TreatMissingData", "notBreaching"), "notBreaching", name)
        for kind in ("AlarmActions", "OKActions"):
            assert kind not in alarm, name
            same((loud[name][kind], mailed[name][kind]), ([topic], ["<Topic>"]), name)
        for dimension in alarm.get("Dimensions", []):  # an alias's name is written out, so it may be wrong
            if dimension["Name"] == "Resource":
                same(dimension["Value"], f"{alarm['Dimensions'][0]['Value']}:live", name)
    operations = [d["Value"] for m in silent["TableErrorsAlarm"]["Metrics"] if "MetricStat" in m
                  for d in m["MetricStat"]["Metric"]["Dimensions"] if d["Name"] == "Operation"]
    called = {a.removeprefix("dynamodb:") for a in ACTIONS["api"] + ACTIONS["authorizer"] if a.startswith("dynamodb:")}
    same(sorted(operations), sorted(called | {"TransactWriteItems"}))
    same(set(re.findall(r'ALARM\("<(\w+)>"\)', silent["GuardAlarm"]["AlarmRule"])), set(GUARDS))

    assert "Topic" not in silent.resources and "Topic" not in loud.resources
    same(mailed["Subscription"], {"TopicArn": "<Topic>", "Protocol": "email", "Endpoint": "team@example.com"})
    statement, = mailed["TopicPolicy"]["PolicyDocument"]["Statement"]
    same((statement["Principal"], statement["Action"]), ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish"))
    same(statement["Condition"], {"ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:us-east-1:111122223333:alarm:*"}})
    same([len(s.rejected()) for s in (silent, loud, mailed)], [0, 0, 0])
    same(len(monitoring(text, AlarmTopicArn=topic, AlarmEmail="team@example.com").rejected()), 1)


@check(
    MONITORING,
    ("eventName: [DisableKey, ", "eventName: ["),
    ("log-group:/aws/events/${Stack}/kms\n", "log-group:/aws/events/${Stack}/kms:*\n"),
    ("log-group:/aws/events/${Stack}/kms:*\n", "log-group:/aws/events/${Stack}/kms\n"),
    ("                aws:SourceArn: !GetAtt KmsEventRule.Arn\n", "                aws:SourceArn: \"*\"\n"),
    ("Id: !Select [8, !Ref Monitored]", "Id: !Select [7, !Ref Monitored]"),
    ("LogGroupName: !Sub [\"/aws/events/${Stack}/kms\"", "LogGroupName: !Sub [\"/aws/events/${Stack}/other\""),
)
def kms_key_is_watched(text):
    for parameters, keys in (({}, [KEY_ARN + "<KmsKey>", KEY_ARN + "none"]), (ADOPTED, [KEY_ARN + KEY_IDS[0], KEY_ARN + KEY_IDS[1]])):
        stack = monitoring(text, Stack(MAIN, **parameters))
        rule, group = stack["KmsEventRule"], stack["KmsEventLogs"]
        same(rule["EventPattern"]["detail"]["resources"], {"ARN": keys})
        assert {"DisableKey", "ScheduleKeyDeletion"} <= set(rule["EventPattern"]["detail"]["eventName"])
        # EventBridge delivers nothing to an ARN that ends in `:*`; policies need it.
        same([t["Arn"] for t in rule["Targets"]], [LOG_GROUP_ARN + group["LogGroupName"]])
        # Ten policies of AWS::Logs::ResourcePolicy are all that an account and Region may have.
        same(stack.of_type("AWS::Logs::ResourcePolicy"), {})
        common = {
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
            "Resource": f"{LOG_GROUP_ARN}{group['LogGroupName']}:*",
        }
        same(group["ResourcePolicyDocument"]["Statement"], [
            common | {"Action": "logs:CreateLogStream"},
            common | {"Action": "logs:PutLogEvents", "Condition": {"ArnEquals": {"aws:SourceArn": "<KmsEventRule.Arn>"}}},
        ])


@check(
    MONITORING,
    ('"stat": "p50"}]', '"stat": "p50"]'),
    ('"Operation", "PutItem"', '"Operation", "TransactWriteItems"'),
    ('"y": 12, "width": 24', '"y": 13, "width": 24'),
)
def dashboard(text):
    for parameters, table in (({}, "<Table>"), (ADOPTED, "old-table")):
        widgets = json.loads(monitoring(text, Stack(MAIN, **parameters))["Dashboard"]["DashboardBody"])["widgets"]
        assert f'"{table}"' in json.dumps(widgets)
        covered = [(x, y) for w in widgets for x in range(w["x"], w["x"] + w["width"]) for y in range(w["y"], w["y"] + w["height"])]
        same(sorted(covered), [(x, y) for x in range(24) for y in range(24)], "a gap, or widgets on top of each other")
        in_use, = (w["properties"] for w in widgets if w["properties"]["title"] == "Keys in use per hour")
        # Usage is what is written with PutItem; the metric of the hour counts each key once.
        same(in_use["metrics"][0][:6], [
            "AWS/DynamoDB", "SuccessfulRequestLatency", "TableName", table, "Operation", "PutItem",
        ])
        same((in_use["stat"], in_use["period"]), ("SampleCount", 3600))


@check(
    MONITORING,
    ("by key_id", "by user"),
    ('action = "rotate"', 'action = "rotated"'),
    ('"Keys": ["$.key_id"]', '"Keys": ["$.sourceIp"]'),
    ('"NotIn": ["-"]', '"NotIn": []'),
    ("!Join ['\", \"', !Ref UsageLogGroups]", "!Join [',', !Ref UsageLogGroups]"),
)
def queries(text):
    stack, used = monitoring(text), monitoring(text, UsageLogGroups="one,two")
    for name in ("UsageQuery", "KeysPerDayQuery"):
        assert "LogGroupNames" not in stack[name]
        same(used[name]["LogGroupNames"], ["one", "two"])
    assert "by key_id" in used["UsageQuery"]["QueryString"]
    same(stack["RotationsQuery"]["LogGroupNames"], ["<ApiLogs>"])
    assert stack["RotationsQuery"]["QueryString"].startswith('filter message = "audit" and action = "rotate"\n')
    assert "TopKeys" not in stack.resources
    rule = json.loads(used["TopKeys"]["RuleBody"])
    same((rule["LogGroupNames"], rule["AggregateOn"]), (["one", "two"], "Count"))
    same(rule["Contribution"], {"Keys": ["$.key_id"], "Filters": [{"Match": "$.key_id", "NotIn": ["-"]}]})
