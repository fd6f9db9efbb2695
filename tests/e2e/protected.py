"""Requests to the protected APIs of the examples."""

import contextlib
import datetime
import unittest

import deployment
from deployment import document

HTTP, REST = APIS = ("HttpApiUrl", "RestApiUrl")


def in_seconds(seconds):
    """A time, rounded down to the second."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def denied_to_authorizer(keys, action):
    """The authorizer's role may not do this for a while."""
    iam, policy = keys.emulator.client("iam"), {"RoleName": keys.resource("AuthorizerFunctionRole"), "PolicyName": "denied"}
    iam.put_role_policy(PolicyDocument=document(action), **policy)
    try:
        yield
    finally:
        iam.delete_role_policy(**policy)


class Case(unittest.TestCase):
    header = "authorization"

    @classmethod
    def setUpClass(cls):
        cls.keys, cls.protected = deployment.keys(), cls.stack()

    def create(self, **config):
        return self.keys.send("POST", "/", {"config": config}).expect(200)["api_key"]

    def revoke(self, key):
        self.keys.send("DELETE", f"/delete/{key[:31]}").expect(200)

    def status(self, api, key, method="GET"):
        return self.protected.call(api, method, "", key, self.header).status

    def statuses(self, key, method="GET"):
        """The responses of both APIs."""
        return [self.status(api, key, method) for api in APIS]

    def denials(self, key):
        """The reasons in the authorizer's log."""
        return [entry["reason"] for entry in self.keys.log("AuthorizerLogGroup", message="denied", key_id=key[:31])]
