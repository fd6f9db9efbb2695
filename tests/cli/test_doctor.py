"""What `gaia-keys doctor` makes of KMS policies that the service didn't write. tests/e2e has the rest."""

import json
import unittest
from unittest import mock

from gaia_keys.commands.doctor import strangers

FUNCTIONS = {"Effect": "Allow", "Action": "kms:GenerateMac", "Principal": "role/gaia-api-keys/gaia/*"}


class Policies(unittest.TestCase):
    def said(self, statements):
        it = mock.Mock(parameters={"ServiceName": "gaia"})
        it.client.return_value.get_key_policy.return_value = {"Policy": json.dumps({"Statement": statements})}
        return strangers(it, "key")

    def test_each_form_of_a_policy_is_understood(self):
        others = {"Effect": "Allow", "Principal": "*"}
        self.assertEqual(self.said(FUNCTIONS), "")
        self.assertEqual(self.said([FUNCTIONS, others | {"NotAction": ["kms:Gen*", "kms:Create*"]}]), "")
        for actions in ({"NotAction": "kms:GenerateMac"}, {"Action": "KMS:creategrant"}):
            said = self.said([FUNCTIONS, others | actions])
            self.assertEqual(said, "lets others than the functions use it (kms:CreateGrant)")


if __name__ == "__main__":
    unittest.main()
