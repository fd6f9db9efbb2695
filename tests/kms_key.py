"""Makes an HMAC_256 key in the KMS at the endpoint given, and prints its ARN."""

import sys

import boto3
from botocore.config import Config

kms = boto3.client(
    "kms",
    endpoint_url=sys.argv[1],
    region_name="eu-central-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=Config(retries={"mode": "standard", "total_max_attempts": 10}),  # it may be starting still
)
key = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC", MultiRegion=True)
print(key["KeyMetadata"]["Arn"])
