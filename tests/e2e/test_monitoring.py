"""stacks/monitoring.yaml beside the keys' stack, which tells it what to watch."""

import unittest

import deployment
from deployment import Stack, templates


class Monitoring(unittest.TestCase):
    def test_it_watches_what_the_keys_stack_names(self):
        keys = deployment.keys()
        Stack("monitoring", templates.MONITORING, keys.emulator, AlarmEmail="team@example.com")
        logs, cloudwatch, sns = (keys.emulator.client(name) for name in ("logs", "cloudwatch", "sns"))
        alarms = {alarm.get("MetricName"): alarm for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}
        for output in ("ApiLogGroup", "AuthorizerLogGroup"):
            filters = logs.describe_metric_filters(logGroupName=keys.outputs[output])["metricFilters"]
            (denied,) = [f["metricTransformations"][0] for f in filters if "denied" in f["filterPattern"]]
            self.assertEqual((denied["metricName"], denied["metricNamespace"]), ("Denied", alarms["Denied"]["Namespace"]))
        self.assertEqual(alarms["5xx"]["Dimensions"], [{"Name": "ApiId", "Value": keys.resource("Api")}])
        groups = logs.describe_log_groups(logGroupNamePrefix="/aws/events/")["logGroups"]
        self.assertEqual([group["logGroupName"] for group in groups], [f"/aws/events/{keys.name}/kms"])
        (mail,) = sns.list_subscriptions()["Subscriptions"]
        self.assertEqual((mail["Protocol"], mail["Endpoint"]), ("email", "team@example.com"))
        self.assertEqual(alarms["Denied"]["AlarmActions"], [mail["TopicArn"]])
