"""Logs, alarms, dashboard, saved queries."""

import json

from check import ACTIONS, ADOPTED, KEY_ARN, KEY_IDS, check, same
from stack import LOG_GROUP_ARN, MAIN, Stack


@check(
    MAIN,
    ('{ $.message = "denied" }', '{ $.msg = "denied" }'),
    ("LogGroup: !Ref AuthorizerLogs", "LogGroup: !Ref ApiLogs"),
)
def logs(text):
    stack = Stack(text)
    for name, group in stack.of_type("AWS::Logs::LogGroup").items():
        same(group.get("RetentionInDays"), 90, name)
    same(stack["ApiFunction"]["LoggingConfig"]["LogGroup"], "<ApiLogs>")
    same(stack["AuthorizerFunction"]["LoggingConfig"]["LogGroup"], "<AuthorizerLogs>")
    filters = {
        (f["LogGroupName"].strip("<>"), f["FilterPattern"], f["MetricTransformations"][0]["MetricName"])
        for f in stack.of_type("AWS::Logs::MetricFilter").values()
    }
    same(filters, {
        ("ApiLogs", '{ $.message = "start failed" }', "StartFailed"),
        ("AuthorizerLogs", '{ $.message = "start failed" }', "StartFailed"),
        ("ApiLogs", '{ $.message = "request failed" }', "RequestFailed"),
        ("ApiLogs", '{ $.message = "denied" }', "Denied"),
        ("AuthorizerLogs", '{ $.message = "denied" }', "Denied"),
        ("KmsEventLogs", "{ $.detail.eventName = * }", "KmsKeyEvent"),
    })


def metrics(alarm):
    if "MetricName" in alarm:
        return [(alarm["Namespace"], alarm["MetricName"])]
    return [tuple(m["MetricStat"]["Metric"][k] for k in ("Namespace", "MetricName")) for m in alarm["Metrics"] if "MetricStat" in m]


@check(
    MAIN,
    ("      TreatMissingData: notBreaching\n", "      TreatMissingData: breaching\n"),
    (":live", ":prod"),
    ("Value: TransactWriteItems }", "Value: PutItem }"),
    ("MetricName: KmsKeyEvent, MetricValue", "MetricName: KmsEvent, MetricValue"),
)
def alarms(text):
    silent, loud = Stack(text), Stack(text, **ADOPTED)
    own = {
        (t["MetricNamespace"], t["MetricName"])
        for f in silent.of_type("AWS::Logs::MetricFilter").values()
        for t in f["MetricTransformations"]
    }
    alarms = silent.of_type("AWS::CloudWatch::Alarm")
    watched = {metric for alarm in alarms.values() for metric in metrics(alarm)}
    same({m for m in watched if m[0].startswith("GaiaApiKeys")}, own, "metrics of our own without an alarm, or the reverse")
    same({m for m in watched if m[0].startswith("AWS/")}, {
        ("AWS/ApiGateway", "5xx"), ("AWS/ApiGateway", "Latency"),
        ("AWS/Lambda", "Errors"), ("AWS/Lambda", "Throttles"), ("AWS/Lambda", "Duration"),
        ("AWS/DynamoDB", "SystemErrors"), ("AWS/DynamoDB", "ReadThrottleEvents"), ("AWS/DynamoDB", "WriteThrottleEvents"),
    })
    for name, alarm in alarms.items():
        same(alarm["TreatMissingData"], "notBreaching", name)
        assert "AlarmActions" not in alarm, name
        same(loud[name]["AlarmActions"], [ADOPTED["AlarmTopicArn"]], name)
        for dimension in alarm.get("Dimensions", []):  # an alias's name is written out, so it may be wrong
            if dimension["Name"] == "Resource":
                same(dimension["Value"], f"{alarm['Dimensions'][0]['Value']}:live", name)
    operations = {d["Value"] for m in silent["TableErrorsAlarm"]["Metrics"] if "MetricStat" in m
                  for d in m["MetricStat"]["Metric"]["Dimensions"] if d["Name"] == "Operation"}
    # Keys are put in transactions, which the metric counts as such. PutItem itself is usage only, whose failure fails no
    # request (WARN entry "usage not recorded").
    called = {a.removeprefix("dynamodb:") for a in ACTIONS["api"] if a.startswith("dynamodb:")}
    same(operations, called - {"PutItem"} | {"TransactWriteItems"})


@check(
    MAIN,
    ("eventName: [DisableKey, ", "eventName: ["),
    ("log-group:${KmsEventLogs}", "log-group:${KmsEventLogs}:*"),
    ("Arn: !Sub arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${KmsEventLogs}", "Arn: !GetAtt KmsEventLogs.Arn"),
    ('"${KmsEventLogs.Arn}"', '"${KmsEventLogs}"'),
    ('"ArnEquals": {"aws:SourceArn": "${KmsEventRule.Arn}"}', '"ArnLike": {"aws:SourceArn": "*"}'),
    ('"StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"},\n', ""),
)
def kms_key_is_watched(text):
    for parameters, keys in (({}, [KEY_ARN + "<KmsKey>"]), (ADOPTED, [KEY_ARN + KEY_IDS[0], KEY_ARN + KEY_IDS[1]])):
        stack = Stack(text, **parameters)
        rule = stack["KmsEventRule"]
        same(rule["EventPattern"]["detail"]["resources"], {"ARN": keys})
        assert {"DisableKey", "ScheduleKeyDeletion"} <= set(rule["EventPattern"]["detail"]["eventName"])
        # EventBridge delivers nothing to an ARN that ends in `:*`; policies need it.
        same([t["Arn"] for t in rule["Targets"]], [LOG_GROUP_ARN + "<KmsEventLogs>"])
        document = json.loads(stack["KmsEventLogsPolicy"]["PolicyDocument"])
        common = {
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
            "Resource": LOG_GROUP_ARN + "<KmsEventLogs>:*",
        }
        same(document["Statement"], [
            common | {"Action": "logs:CreateLogStream"},
            common | {"Action": "logs:PutLogEvents", "Condition": {
                "StringEquals": {"aws:SourceAccount": "111122223333"},
                "ArnEquals": {"aws:SourceArn": "<KmsEventRule.Arn>"},
            }},
        ])


@check(
    MAIN,
    ('"stat": "p50"}]', '"stat": "p50"]'),
    ('"Operation", "PutItem"', '"Operation", "TransactWriteItems"'),
    ('"y": 12, "width": 24', '"y": 13, "width": 24'),
)
def dashboard(text):
    for parameters, table in (({}, "<Table>"), (ADOPTED, "old-table")):
        widgets = json.loads(Stack(text, **parameters)["Dashboard"]["DashboardBody"])["widgets"]
        assert f'"{table}"' in json.dumps(widgets)
        assert all({"x", "y", "width", "height", "properties"} <= set(w) for w in widgets)
        covered = [(x, y) for w in widgets for x in range(w["x"], w["x"] + w["width"]) for y in range(w["y"], w["y"] + w["height"])]
        same(sorted(covered), [(x, y) for x in range(24) for y in range(24)], "a gap, or widgets on top of each other")
        in_use, = (w["properties"] for w in widgets if w["properties"]["title"] == "Keys in use per hour")
        # Usage is what is written with PutItem; the metric of the hour counts each key once.
        same(in_use["metrics"][0][:6], [
            "AWS/DynamoDB", "SuccessfulRequestLatency", "TableName", table, "Operation", "PutItem",
        ])
        same((in_use["stat"], in_use["period"]), ("SampleCount", 3600))


@check(
    MAIN,
    ("by key_id", "by user"),
    ("count_distinct(key_id)", "count_distinct(user)"),
    ('action = "rotate"', 'action = "rotated"'),
)
def queries(text):
    stack = Stack(text)
    for name, expected in (("UsageQuery", "by key_id"), ("KeysPerDayQuery", "count_distinct(key_id)")):
        assert "LogGroupNames" not in stack[name]
        query = Stack(text, **ADOPTED)[name]
        same(query["LogGroupNames"], ["one", "two"])
        assert expected in query["QueryString"]
    same(stack["RotationsQuery"]["LogGroupNames"], ["<ApiLogs>"])
    assert stack["RotationsQuery"]["QueryString"].startswith('filter message = "audit" and action = "rotate"\n')
