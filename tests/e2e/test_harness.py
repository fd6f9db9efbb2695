"""Both stacks stand, and a key of the one opens the other: what the other files of tests/e2e build on."""

import unittest

import deployment


class BothStacks(unittest.TestCase):
    def test_a_created_key_opens_the_protected_apis(self):
        keys, protected = deployment.keys(), deployment.protected()
        created = keys.send("POST", "/", {"config": {"permissions": "read"}})
        self.assertEqual(created.status, 200, created.text)
        key = created.json["api_key"]
        for output in ("HttpApiUrl", "RestApiUrl"):
            with self.subTest(output):
                opened = protected.call(output, "GET", headers={"authorization": f"Search {key}"})
                self.assertEqual(opened.expect(200)["key_id"], key[:31])
                denied = protected.call(output, "GET", headers={"authorization": f"Search {key[:-1]}"})
                self.assertEqual(denied.status, 403, denied.text)


if __name__ == "__main__":
    unittest.main()
