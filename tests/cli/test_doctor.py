"""What `gaia-keys doctor` makes of KMS policies and parameters that the deployments of tests/e2e don't have."""

import io
import json
import unittest
from unittest import mock

from gaia_keys.commands.doctor import authorized, strangers

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


class Authorizer(unittest.TestCase):
    def test_the_template_takes_the_header_in_any_case(self):
        it = mock.Mock(parameters={"KeyHeader": "Authorization"}, functions=mock.MagicMock())
        it.stack.output.return_value = "arn"
        invoke = it.client.return_value.invoke
        invoke.return_value = {"Payload": io.BytesIO(b'{"isAuthorized": true}')}
        self.assertIsNone(authorized(it, "KEY"))
        event = json.loads(invoke.call_args.kwargs["Payload"])
        self.assertEqual(event["headers"], {"authorization": "Search KEY"})
