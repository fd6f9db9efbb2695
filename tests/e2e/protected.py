"""Requests to the protected APIs of the examples."""

import unittest

import deployment

APIS = ("HttpApiUrl", "RestApiUrl")


class Case(unittest.TestCase):
    header = "authorization"

    @classmethod
    def setUpClass(cls):
        cls.keys, cls.protected = deployment.keys(), cls.stack()

    def status(self, api, key, method="GET"):
        return self.protected.call(api, method, "", key, self.header).status

    def statuses(self, key, method="GET"):
        """The responses of both APIs."""
        return [self.status(api, key, method) for api in APIS]

    def denials(self, key):
        """The reasons in the authorizer's log."""
        return [entry["reason"] for entry in self.keys.log("AuthorizerLogGroup", message="denied", key_id=key[:31])]
