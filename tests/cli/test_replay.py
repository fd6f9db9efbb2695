"""What `gaia-keys restore` makes of audit entries that come twice, late or not at all. tests/e2e runs it on real ones."""

import json
import unittest

from gaia_keys import replay, times

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
        steps = replay.plan(events, POINT, omission, target, source, times.now())
        target |= {step.key_id[5:]: step.after for step in steps if step.after}
        self.assertFalse([step for step in replay.plan(events, POINT, omission, target, source, times.now()) if step.after and step.writes])
        found = {step.key_id: (step.change, step.note, json.loads(step.after["config"]["S"]) if step.after else None) for step in steps}
        return {key: step for key, step in found.items() if step[0]}

    def test_a_mistake_is_left_out_from_its_first_microsecond_until_before_its_end(self):
        minute = replay.Omission("a", POINT, times.parse("2026-11-24T09:31:00Z"))
        entries = [entry(KEYS[number], time) for number, time in enumerate(("29:59.999999", "30:00.000000", "30:59.999999", "31:00.000000"))]
        plan = self.plan([*entries, entry(KEYS[4], "30:30", actor="b")], dict.fromkeys(KEYS, item()), omission=minute)
        self.assertEqual(list(plan), [KEYS[0], KEYS[4], KEYS[3]])
        retry = entry(KEYS[5], "40:00", "retry", rotated_to=CREATED, old_expires_at="2026-11-24T09:30:00Z", enabled=True)
        self.assertEqual(self.plan([retry], {KEYS[5]: item()}, {CREATED: item()}, minute), {}, "the retry of a mistake is one")

    def test_clocks_that_differ_revive_no_key(self):
        update = lambda time: entry(KEYS[0], time, "update", enabled=False)
        deleted = [entry(KEYS[0], "31:00.000001"), update("31:00.000002")]
        self.assertEqual(self.plan(deleted, {KEYS[0]: item()})[KEYS[0]][0], "delete")
        self.assertEqual(self.plan([*deleted, update("33:00")], {KEYS[0]: item()})[KEYS[0]][2], {"enabled": False}, "it was brought back")
        twice = [entry(KEYS[0], f"31:00.{number}", "update", enabled=True, permissions=word) for number, word in enumerate(("write", "read"))]
        self.assertIn("check which was the last", self.plan(twice, {KEYS[0]: item()})[KEYS[0]][1])

    def test_retries_are_all_that_is_known_of_lost_responses(self):
        end = "2027-01-01T00:00:00Z"
        rotation = lambda key, new: entry(key, "50:00", "retry", rotated_to=new, old_expires_at=end, enabled=True, permissions="read")
        narrowed = entry(KEYS[0], "29:59.9", "update", enabled=True, permissions="read")
        lost = self.plan([narrowed, rotation(KEYS[0], CREATED)], {KEYS[0]: item(permissions="write", n=1)}, {CREATED: item(permissions="write")})
        self.assertEqual(lost[KEYS[0]][2], {"permissions": "read", "n": 1, "expires_at": end})
        self.assertEqual(lost[CREATED], ("copy", "", {"permissions": "read"}), "what the log says, not what the item says")
        created = entry(CREATED, "50:00", "retry", enabled=True, permissions="read")
        self.assertEqual(self.plan([created], {}, {CREATED: item()}), {CREATED: ("copy", "", {"permissions": "read"})})
        self.assertEqual(self.plan([created], {})[CREATED][1], "created since, and lost: issue a new key")
        self.assertEqual(self.plan([rotation(KEYS[0], KEYS[1])], {KEYS[0]: item()}), {}, "of before the point in time")
        extended = item(permissions="read") | {"updated_at": {"S": "2026-11-24T09:30:00.500Z"}}
        self.assertEqual(self.plan([rotation(KEYS[0], CREATED)], {KEYS[0]: extended, CREATED: item(permissions="read")}), {})

    def test_a_config_that_gets_too_long(self):
        routes = entry(KEYS[0], "31:00", "update", enabled=True, routes="GET /" + "a" * 60)
        self.assertIn("until you shorten its config", self.plan([routes], {KEYS[0]: item(permissions="read", x="x" * 4050)})[KEYS[0]][1])


if __name__ == "__main__":
    unittest.main()
