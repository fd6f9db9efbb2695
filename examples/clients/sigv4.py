"""Signs the requests of httpx for API Gateway: `pip install httpx botocore`."""

import os

import botocore.auth
import botocore.awsrequest
import botocore.session
import httpx


class SigV4(httpx.Auth):
    """Signs with the credentials that botocore finds: variables, profile, role."""

    requires_request_body = True

    def __init__(self):
        self.credentials = botocore.session.Session().get_credentials()

    def auth_flow(self, request):
        signer = botocore.auth.SigV4Auth(self.credentials.get_frozen_credentials(), "execute-api", os.environ["AWS_REGION"])
        signed = botocore.awsrequest.AWSRequest(request.method, str(request.url), data=request.content)
        signer.add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request
