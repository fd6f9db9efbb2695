"""Makes what tests/integration needs at an emulator: python tests/emulated.py kms|dynamodb ENDPOINT

An HMAC_256 key, whose ARN is printed, or the keys' table, as template.yaml has it.
"""

import sys

import boto3
from botocore.config import Config

service, endpoint = sys.argv[1:]
client = boto3.client(
    service,
    endpoint_url=endpoint,
    region_name="eu-central-1" if service == "kms" else "test",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=Config(retries={"mode": "standard", "total_max_attempts": 10}),  # it may be starting still
)
if service == "kms":
    print(client.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC", MultiRegion=True)["KeyMetadata"]["Arn"])
else:
    client.create_table(
        TableName="gaia-api-keys",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "service", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("service", "id")],
    )
