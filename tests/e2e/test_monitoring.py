"""stacks/monitoring.yaml beside the keys' stack, which tells it what to watch."""

import json
import time
import unittest

import deployment
from deployment import templates


class Monitoring(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        cloudformation = cls.keys.emulator.client("cloudformation")
        template = deployment.for_emulator(templates.monitoring().template)
        cloudformation.create_stack(
            StackName="monitoring",
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": "AlarmEmail", "ParameterValue": "team@example.com"}],
        )
        cls.addClassCleanup(cloudformation.delete_stack, StackName="monitoring")
        for _ in range(100):
            status = cls.keys.status("monitoring")
            if not status.endswith("_IN_PROGRESS"):
                break
            time.sleep(0.05)
        assert status == "CREATE_COMPLETE", (status, cls.keys.reasons("monitoring"))

    def test_it_watches_what_the_keys_stack_names(self):
        logs, cloudwatch, sns = (self.keys.emulator.client(name) for name in ("logs", "cloudwatch", "sns"))
        alarms = {alarm["MetricName"]: alarm for alarm in cloudwatch.describe_alarms()["MetricAlarms"] if "MetricName" in alarm}
        for output in ("ApiLogGroup", "AuthorizerLogGroup"):
            filters = logs.describe_metric_filters(logGroupName=self.keys.outputs[output])["metricFilters"]
            (denied,) = [f["metricTransformations"][0] for f in filters if "denied" in f["filterPattern"]]
            self.assertEqual((denied["metricName"], denied["metricNamespace"]), ("Denied", alarms["Denied"]["Namespace"]))
        api = self.keys.resource("Api")
        self.assertEqual(alarms["5xx"]["Dimensions"], [{"Name": "ApiId", "Value": api}])
        groups = logs.describe_log_groups(logGroupNamePrefix="/aws/events/")["logGroups"]
        self.assertEqual([group["logGroupName"] for group in groups], [f"/aws/events/{self.keys.name}/kms"])
        (mail,) = sns.list_subscriptions()["Subscriptions"]
        self.assertEqual((mail["Protocol"], mail["Endpoint"]), ("email", "team@example.com"))
        self.assertEqual(alarms["Denied"]["AlarmActions"], [mail["TopicArn"]])


if __name__ == "__main__":
    unittest.main()
