"""What docs/scaling.md shows is what the simulation prints, and what the simulation starts from is what the repository says."""

import re
import unittest

from scaling import ROOT

import inputs
import invariants
import simulate
from stack import EXAMPLE, MAIN, Stack

DOC = (ROOT / "docs/scaling.md").read_text()


def read(path):
    return (ROOT / path).read_text()


class Docs(unittest.TestCase):
    def test_tables(self):
        for table in simulate.TABLES:
            with self.subTest(table=table.__name__):
                self.assertIn("\n".join(table()), DOC, "run benches/scaling/simulate.py --write")

    def test_what_always_holds_held_for_the_tables(self):
        for settings in (*simulate.LOADS.values(), *simulate.JUMPS.values(), *simulate.WANTED.values(), *simulate.FIRST.values()):
            self.assertEqual(invariants.broken(simulate.simulation(settings)), [])


class Inputs(unittest.TestCase):
    def test_measured_times(self):
        performance = read("docs/performance.md")
        for name, row, column in (("own", "first request on 7.2 % of a core", r"second [\d.]+, ([\d.]+)"),
                                  ("start", "start to first response", r"\| service [\d.]+, ([\d.]+), [\d.]+ ms; template")):
            lines = re.findall(rf"^\| {re.escape(row)} \|.*$", performance, flags=re.MULTILINE)
            (measured,) = [found[1] for line in lines if (found := re.search(column, line))]
            self.assertEqual(float(measured) / 1000, inputs.TIMES[name].seconds)

    def test_a_check_takes_what_the_costs_assume(self):
        self.assertAlmostEqual(simulate.CHECK_S, simulate.cost.DURATION_S, places=5)

    def test_retries(self):
        retries = read("src/aws.rs")
        self.assertIn(f".with_max_attempts({inputs.MAX_ATTEMPTS})", retries)
        self.assertIn(f".with_initial_backoff(Duration::from_millis({inputs.INITIAL_BACKOFF_S * 1000:.0f}))", retries)
        self.assertIn(f".with_max_backoff(Duration::from_secs({inputs.MAX_BACKOFF_S:.0f}))", retries)
        self.assertIn("token_bucket(TokenBucket::default())", retries)

    def test_usage(self):
        usage = read("src/store/usage.rs")
        for constant in ("HOUR: Duration = Duration::HOUR", f"JITTER: Duration = Duration::minutes({inputs.USAGE_JITTER_S / 60:.0f})",
                         "PAUSE: Duration = Duration::MINUTE", f"MAX_KEYS: usize = {inputs.USAGE_KEYS:_}"):
            self.assertIn(f"const {constant};", usage)
        self.assertEqual((inputs.USAGE_HOUR_S, inputs.USAGE_PAUSE_S), (3600, 60))

    def test_parameters(self):
        parameters = Stack(MAIN).parameters
        self.assertEqual([parameters[name] for name in ("MaxReadUnits", "MaxWriteUnits", "ThrottleRate", "ThrottleBurst")],
                         [inputs.MAX_READ_UNITS, inputs.MAX_WRITE_UNITS, inputs.THROTTLE_RATE, inputs.THROTTLE_BURST])
        stage = Stack(EXAMPLE)["HttpApiApiGatewayDefaultStage"]["DefaultRouteSettings"]
        self.assertEqual(stage["ThrottlingRateLimit"], inputs.STAGE_RATE)

    def test_named_parameters_exist(self):
        names = set(Stack(MAIN).parameters) | set(Stack(EXAMPLE).parameters)
        named = set(re.findall(r"`([A-Z][a-z]+[A-Z][A-Za-z]+)(?:=[^`]*)?`", DOC))
        self.assertGreater(len(named), 8)
        gateways = {"ThrottlingRateLimit"}
        metrics = {"ReadThrottleEvents", "ConcurrentExecutions", "ReplicationLatency", "SuccessfulRequestLatency", "Throttles"}
        requests = {"GenerateMac", "TransactWriteItems"}
        alarms = set(Stack(MAIN).of_type("AWS::CloudWatch::Alarm"))
        reasons = {"TableReadKeyRangeThroughputExceeded", "TableReadMaxOnDemandThroughputExceeded"}
        self.assertEqual(named - names - gateways - metrics - requests - alarms - reasons, set())


if __name__ == "__main__":
    unittest.main()
