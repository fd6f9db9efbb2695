"""The management API behind a JWT authorizer, by .ci/jwt_template.py, with tokens of a Cognito user pool."""

import base64
import json
import os
import pathlib
import subprocess
import sys
import unittest
import urllib.parse
import urllib.request

import deployment
import emulator as emulators
from deployment import ROOT, templates

sys.path.append(str(ROOT / ".ci"))
from jwt_template import jwt_template  # noqa: E402

COMMAND = pathlib.Path(sys.executable).parent / "gaia-keys"


class Jwt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = emulators.shared()
        cognito = cls.emulator.client("cognito-idp")
        cls.pool = cognito.create_user_pool(PoolName="operators")["UserPool"]["Id"]
        scopes = [{"ScopeName": name, "ScopeDescription": name} for name in ("manage", "other")]
        cognito.create_resource_server(UserPoolId=cls.pool, Identifier="gaia-api-keys", Name="keys", Scopes=scopes)
        cls.client, cls.stranger = cls.make_client("client"), cls.make_client("stranger")
        cls.issuer = f"https://cognito-idp.{emulators.REGION}.amazonaws.com/{cls.pool}"
        cls.keys = deployment.Stack(
            "keys-jwt", jwt_template(templates.MAIN), cls.emulator, JwtIssuer=cls.issuer, JwtAudience=cls.client[0]
        )

    @classmethod
    def make_client(cls, name):
        client = cls.emulator.client("cognito-idp").create_user_pool_client(
            UserPoolId=cls.pool,
            ClientName=name,
            GenerateSecret=True,
            AllowedOAuthFlows=["client_credentials"],
            AllowedOAuthFlowsUserPoolClient=True,
            AllowedOAuthScopes=["gaia-api-keys/manage", "gaia-api-keys/other"],
        )["UserPoolClient"]
        return client["ClientId"], client["ClientSecret"]

    def token(self, client, scope="gaia-api-keys/manage"):
        basic = base64.b64encode(":".join(client).encode()).decode()
        request = urllib.request.Request(
            f"{self.emulator.url}/oauth2/token",
            data=urllib.parse.urlencode({"grant_type": "client_credentials", "scope": scope}).encode(),
            headers={"authorization": f"Basic {basic}", "content-type": "application/x-www-form-urlencoded"},
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)["access_token"]

    def send(self, method, path, body=None, token=None, **options):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return self.keys.send(method, path, body, caller=None, headers=headers, **options)

    def test_a_token_with_the_scope_manages_keys(self):
        token = self.token(self.client)
        key = self.send("POST", "/", {"config": {"permissions": "read"}}, token).expect(200)["api_key"]
        listed = self.send("GET", "/?details=true", token=token).expect(200)
        subject = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["sub"]
        self.assertEqual([(entry["api_key"], entry["created_by"]) for entry in listed], [(key, subject)])
        (audit,) = self.keys.log("ApiLogGroup", message="audit", key_id=key[:31])
        self.assertEqual(audit["actor"], subject)
        self.send("DELETE", f"/delete/{key}", token=token).expect(200)

    def test_other_tokens_open_nothing(self):
        right = self.token(self.client)
        header, claims, signature = right.split(".")
        widened = base64.urlsafe_b64decode(claims + "==").replace(b'"sub"', b'"was"')
        forged = ".".join([header, base64.urlsafe_b64encode(widened).decode().rstrip("="), signature])
        for name, token, status in (
            ("none", None, 401),
            ("no JWT", "token", 401),
            ("forged", forged, 401),
            ("another audience", self.token(self.stranger), 401),
            ("another scope", self.token(self.client, "gaia-api-keys/other"), 403),
        ):
            for method, path in (("GET", "/"), ("POST", "/"), ("GET", "/unknown/path")):
                with self.subTest(f"{name} {method} {path}"):
                    self.assertEqual(self.send(method, path, {"config": {}}, token).status, status)
        self.assertLessEqual({item["service"]["S"] for item in self.keys.items()}, {"gaia#meta"})

    def test_a_signature_opens_nothing(self):
        self.assertEqual(self.keys.send("GET", "/").status, 401)

    def test_gaia_keys_with_a_token(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "GAIA_KEYS_URL": self.keys.local_url(),
            "GAIA_KEYS_AUTH": "bearer",
            "GAIA_KEYS_TOKEN": self.token(self.client),
        }
        listed = subprocess.run([COMMAND, "list", "--json"], env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual((listed.returncode, json.loads(listed.stdout)), (0, []), listed.stderr)


if __name__ == "__main__":
    unittest.main()
