"""What `gaia-keys restore` makes of audit entries that come twice, late or not at all. tests/e2e has real ones."""

import json
import unittest
from unittest import mock

from gaia_keys import replay, times
from gaia_keys.commands.restore import Restoration
from gaia_keys.errors import Failed
from gaia_keys.replay import Omission

POINT = times.parse("2026-11-24T09:30:00Z")  # its milliseconds are 01M86E81E0 in IDs
KEYS = [f"gaia_01M0000000000000000000000{number}" for number in range(8)]  # of months before
CREATED = "gaia_01M86E81E00000000000000000"


def entry(key, time, action="delete", actor="a", **more):
    return {"key_id": key, "timestamp": f"2026-11-24T09:{time}Z", "action": action, "actor": actor} | more


def item(**config):
    return {"config": {"S": json.dumps(config)}, "root_key_id": {"S": "x"}, "change_id": {"S": "x"}}


class Replay(unittest.TestCase):
    def plan(self, entries, target, source=None, omission=None):
        """Each key's change, note and config. Carried out, the plan leaves nothing to do."""
        events = replay.events(map(json.dumps, entries * 2))
        target, source = ({key[5:]: each for key, each in items.items()} for items in (target, source or {}))
        self.steps = replay.plan(events, POINT, omission, target, source, times.now())
        writes = [step for step in self.steps if step.after and step.writes]
        self.assertNotIn({"S": "x"}, [step.after["change_id"] for step in writes])
        target |= {step.key_id[5:]: step.after for step in writes}
        again = replay.plan(events, POINT, omission, target, source, times.now())
        self.assertFalse([step for step in again if step.after and step.writes])
        config = lambda step: json.loads(step.after["config"]["S"]) if step.after else None
        return {step.key_id: (step.change, step.note, config(step)) for step in self.steps if step.change}

    def test_a_mistake_is_left_out_from_its_first_microsecond_until_before_its_end(self):
        minute = replay.Omission("a", POINT, times.parse("2026-11-24T09:31:00Z"))
        when = ("29:59.999999", "30:00.000000", "30:59.999999", "31:00.000000")
        entries = [entry(key, time) for key, time in zip(KEYS, when)] + [entry(KEYS[4], "30:30", actor="b")]
        plan = self.plan(entries, dict.fromkeys(KEYS, item()), omission=minute)
        self.assertEqual(list(plan), [KEYS[0], KEYS[4], KEYS[3]])
        rotation = dict(rotated_to=CREATED, old_expires_at="2026-11-24T09:30:00Z", enabled=True)
        retry = entry(KEYS[5], "40:00", "retry", **rotation)
        made = entry(KEYS[5], "30:00.1", "rotate", **rotation)
        later = replay.Omission("a", times.parse("2026-11-24T09:30:00.1Z"), minute.until)
        for known, omission in (([], minute), ([made], later)):
            self.assertEqual(self.plan([*known, retry], {KEYS[5]: item()}, {CREATED: item()}, omission), {}, "of a mistake")

    def test_clocks_that_differ_revive_no_key(self):
        update = lambda time: entry(KEYS[0], time, "update", enabled=False)
        deleted = [entry(KEYS[0], "31:00.000001"), update("31:00.000002")]
        self.assertEqual(self.plan(deleted, {KEYS[0]: item()})[KEYS[0]][0], "delete")
        brought_back = self.plan([*deleted, update("33:00")], {KEYS[0]: item()})
        self.assertEqual(brought_back[KEYS[0]][2], {"enabled": False})
        twice = self.plan([entry(KEYS[0], "31:00.1", "update", enabled=True), update("31:00.2")], {KEYS[0]: item()})
        self.assertIn("check which was the last", twice[KEYS[0]][1])

    def test_retries_are_all_that_is_known_of_lost_responses(self):
        end = "2027-01-01T00:00:00Z"
        read = {"enabled": True, "permissions": "read"}
        rotation = lambda key, new: entry(key, "50:00", "retry", rotated_to=new, old_expires_at=end, **read)
        entries = [entry(KEYS[0], "29:59.9", "update", **read), rotation(KEYS[0], CREATED)]
        lost = self.plan(entries, {KEYS[0]: item(permissions="write", n=1)}, {CREATED: item(permissions="write")})
        self.assertEqual(lost[KEYS[0]][2], {"permissions": "read", "n": 1, "expires_at": end})
        self.assertEqual(lost[CREATED], ("copy", "", {"permissions": "read"}), "what the log says, not what the item says")
        created = entry(CREATED, "50:00", "retry", **read)
        self.assertEqual(self.plan([created], {}, {CREATED: item()}), {CREATED: ("copy", "", {"permissions": "read"})})
        unreadable = entry(CREATED, "50:00", "retry")
        for entries, source in (([created], {}), ([unreadable], {CREATED: item()})):
            self.assertEqual(self.plan(entries, {}, source)[CREATED][1], "created since, and lost: issue a new key")
        self.assertEqual(self.plan([rotation(KEYS[0], KEYS[1])], {KEYS[0]: item()}), {}, "of before the point in time")
        extended = item(permissions="read") | {"updated_at": {"S": "2026-11-24T09:30:00.500Z"}}
        there = {KEYS[0]: extended, CREATED: item(permissions="read")}
        self.assertEqual(self.plan([rotation(KEYS[0], CREATED)], there), {})

    @mock.patch.object(replay, "FIELDS", (*replay.FIELDS, "n"))
    def test_configs(self):
        routes = entry(KEYS[0], "31:00", "update", enabled=True, routes="GET /" + "a" * 60)
        said = self.plan([routes], {KEYS[0]: item(permissions="read", x="x" * 4050)})[KEYS[0]][1]
        self.assertEqual(said, "checks fail until you shorten its config to 4096 bytes")
        expired = entry(KEYS[0], "31:00", "update", enabled=True, expires_at="2020-01-01T00:00:00Z", n=1)
        self.assertEqual(self.plan([expired], {KEYS[0]: item(expires_at="2020-01-01T01:00:00.5+01:00", n=1.0)}), {}, "as it is written")
        self.plan([expired], {KEYS[0]: item(n=1)})
        self.assertRaisesRegex(Failed, "an audit entry can't be read", replay.events, ['{"n": 1, "n": 2}'])
        self.assertGreater(int(self.steps[0].after["ttl"]["N"]), times.now().timestamp() + 29 * 86400)

    def test_a_restored_table_has_a_name_that_a_versions_description_holds(self):
        stack = mock.MagicMock()
        stack.name = "x" * 128
        for omission in (None, Omission("a", POINT, POINT)):
            self.assertEqual(len(Restoration(stack, POINT, omission, True).target), 49)

    def test_the_audit_log_was_deleted(self):
        stack = mock.MagicMock(at_rest=lambda: "UPDATE_COMPLETE", output=lambda name: name)
        stack.client.return_value.describe_log_groups.return_value = {"logGroups": [{"logGroupName": "ApiLogGroup-old"}]}
        self.assertRaisesRegex(Failed, "log ApiLogGroup doesn't exist", Restoration(stack, POINT, None, True).check)
