"""The management API behind a JWT authorizer, by .ci/jwt_template.py, with tokens of a Cognito user pool."""

import base64
import json
import unittest
import urllib.parse

import emulator as emulators
from deployment import Stack, templates
from jwt_template import jwt_template
from local import exchange


class Jwt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = emulators.shared()
        cls.cognito = cls.emulator.client("cognito-idp")
        cls.pool = cls.cognito.create_user_pool(PoolName="operators")["UserPool"]["Id"]
        scopes = [{"ScopeName": name, "ScopeDescription": name} for name in ("manage", "other")]
        cls.cognito.create_resource_server(UserPoolId=cls.pool, Identifier="gaia-api-keys", Name="keys", Scopes=scopes)
        cls.client, cls.stranger = cls.make_client("client"), cls.make_client("stranger")
        issuer = f"https://cognito-idp.{emulators.REGION}.amazonaws.com/{cls.pool}"
        template = jwt_template(templates.MAIN)
        cls.keys = Stack("keys-jwt", template, JwtIssuer=issuer, JwtAudience=cls.client[0])

    @classmethod
    def make_client(cls, name):
        flows = {"AllowedOAuthFlows": ["client_credentials"], "AllowedOAuthFlowsUserPoolClient": True}
        scopes = {"AllowedOAuthScopes": ["gaia-api-keys/manage", "gaia-api-keys/other"]}
        settings = {"UserPoolId": cls.pool, "ClientName": name, "GenerateSecret": True}
        client = cls.cognito.create_user_pool_client(**settings, **flows, **scopes)["UserPoolClient"]
        return client["ClientId"], client["ClientSecret"]

    def token(self, client, scope="gaia-api-keys/manage"):
        form = {"grant_type": "client_credentials", "scope": scope, "client_id": client[0], "client_secret": client[1]}
        body = urllib.parse.urlencode(form).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        response = exchange(self.emulator.address, "POST", "/oauth2/token", body, headers)
        return json.loads(response.data)["access_token"]

    def send(self, method, path, body=None, token=None):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return self.keys.send(method, path, body, caller=None, headers=headers)

    def test_a_token_with_the_scope_manages_keys(self):
        token = self.token(self.client)
        subject = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["sub"]
        key = self.send("POST", "/", {"config": {"permissions": "read"}}, token).expect(200)["api_key"]
        (audit,) = self.keys.log("ApiLogGroup", message="audit", key_id=key[:31])
        self.assertEqual((audit["actor"], self.send("GET", f"/{key}", token=token).json["created_by"]), (subject, subject))

    def test_nothing_else_opens(self):
        for name, token, status in (
            ("none", None, 401),
            ("another audience", self.token(self.stranger), 401),
            ("another scope", self.token(self.client, "gaia-api-keys/other"), 403),
        ):
            for method, path in (("GET", "/"), ("POST", "/"), ("GET", "/unknown/path")):
                with self.subTest(f"{name} {method} {path}"):
                    self.assertEqual(self.send(method, path, {"config": {}}, token).status, status)
        self.assertEqual(self.keys.send("GET", "/").status, 401, "a signature")
