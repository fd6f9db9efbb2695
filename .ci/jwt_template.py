"""Writes template-jwt.yaml: template.yaml, but callers of the management API send tokens in place of IAM signatures.

    python3 .ci/jwt_template.py

.ci/release.py puts it into each release.
"""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]

PARAMETERS = """Parameters:
  JwtIssuer:
    Type: String
    AllowedPattern: "^https://.+$"
    Description: Issuer of the tokens (claim iss), where API Gateway reads /.well-known/openid-configuration.
  JwtAudience:
    Type: String
    AllowedPattern: ".+"
    Description: Audience of the tokens (claim aud, or client_id where there is none).
"""
# The scope is part of it: without one, every token that is issued for the audience would be accepted.
AUTHORIZER = """        DefaultAuthorizer: Jwt
        Authorizers:
          Jwt:
            IdentitySource: $request.header.Authorization
            JwtConfiguration:
              issuer: !Ref JwtIssuer
              audience: [!Ref JwtAudience]
            AuthorizationScopes: [gaia-api-keys/manage]
"""
EDITS = [
    ("Parameters:\n  S", PARAMETERS + "  S"),
    ("        EnableIamAuthorizer: true\n        DefaultAuthorizer: AWS_IAM\n", AUTHORIZER),
    ("$context.identity.userArn", "$context.authorizer.claims.sub"),
    ("Sign requests with SigV4 (service execute-api).", "Send a token in the header authorization."),
]


def jwt_template(text):
    for old, new in EDITS:
        assert text.count(old) == 1, f"template.yaml holds {text.count(old)} times: {old!r}"
        text = text.replace(old, new)
    return text


if __name__ == "__main__":
    (ROOT / "template-jwt.yaml").write_text(jwt_template((ROOT / "template.yaml").read_text()))
