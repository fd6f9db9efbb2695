"""Makes the keys' table in the DynamoDB at the endpoint given, as template.yaml has it."""

import sys

import boto3
from botocore.config import Config

dynamodb = boto3.client(
    "dynamodb",
    endpoint_url=sys.argv[1],
    region_name="test",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=Config(retries={"mode": "standard", "total_max_attempts": 10}),  # it may be starting still
)
dynamodb.create_table(
    TableName="gaia-api-keys",
    BillingMode="PAY_PER_REQUEST",
    KeySchema=[{"AttributeName": "service", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
    AttributeDefinitions=[
        {"AttributeName": "service", "AttributeType": "S"},
        {"AttributeName": "id", "AttributeType": "S"},
    ],
)
