"""GAIA's four endpoints as FastAPI, Mangum and boto3, the way most such services on Lambda are written."""

import base64
import hashlib
import hmac
import json
import logging
import os
from datetime import datetime, timezone

import boto3
from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError
from fastapi import FastAPI, HTTPException, Request
from mangum import Mangum
from pydantic import BaseModel

logger = logging.getLogger()
logger.setLevel(logging.INFO)

SERVICE = os.environ["SERVICE_NAME"]
PREFIX = "/es/api/v1/credentials/api_keys"
MISSING = "ConditionalCheckFailedException"

table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
root_key = boto3.client("kms").generate_mac(
    KeyId=os.environ["KMS_KEY_ID"], MacAlgorithm="HMAC_SHA_256", Message=b"gaia-api-key/v1/root-key"
)["Mac"]
app = FastAPI()


class Body(BaseModel):
    config: dict


def new_id() -> str:
    return f"{int(datetime.now().timestamp() * 1000):012x}{os.urandom(7).hex()}"


def key_of(key_id: str) -> str:
    mac = hmac.new(root_key, f"gaia-api-key/v1{SERVICE}{key_id}".encode(), hashlib.sha256).digest()
    return f"gaia_{key_id}_{base64.b32encode(mac[:16]).decode().rstrip('=')}"


def id_of(api_key: str) -> str:
    key_id = api_key.split("_")[1] if api_key.count("_") == 2 else ""
    if not hmac.compare_digest(key_of(key_id), api_key):
        raise HTTPException(404, "API key not found")
    return key_id


def caller(request: Request) -> str:
    try:
        return request.scope["aws.event"]["requestContext"]["authorizer"]["iam"]["userArn"]
    except KeyError as error:
        raise HTTPException(401, "Not authenticated") from error


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


@app.get(PREFIX + "/")
def list_keys():
    query = {"KeyConditionExpression": Key("service").eq(SERVICE), "ConsistentRead": True}
    keys = []
    while True:
        page = table.query(**query)
        keys += [{"api_key": key_of(item["id"]), "config": json.loads(item["config"])} for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            return keys
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


@app.post(PREFIX + "/")
def create(body: Body, request: Request):
    key_id = new_id()
    item = {"service": SERVICE, "id": key_id, "config": json.dumps(body.config)}
    item |= {"created_at": now(), "created_by": caller(request)}
    table.put_item(Item=item, ConditionExpression="attribute_not_exists(id)")
    logger.info(json.dumps({"action": "create", "key_id": key_id, "actor": caller(request)}))
    return {"api_key": key_of(key_id), "result": "created"}


@app.put(PREFIX + "/{api_key}")
def update(api_key: str, body: Body, request: Request):
    try:
        table.update_item(
            Key={"service": SERVICE, "id": id_of(api_key)},
            UpdateExpression="SET config = :config, updated_at = :at, updated_by = :by",
            ConditionExpression="attribute_exists(id)",
            ExpressionAttributeValues={":config": json.dumps(body.config), ":at": now(), ":by": caller(request)},
        )
    except ClientError as error:
        raise not_found(error) from error
    return {"api_key": api_key, "result": "updated"}


@app.delete(PREFIX + "/delete/{api_key}")
def delete(api_key: str):
    try:
        table.delete_item(
            Key={"service": SERVICE, "id": id_of(api_key)}, ConditionExpression="attribute_exists(id)"
        )
    except ClientError as error:
        raise not_found(error) from error
    return {"api_key": api_key, "result": "deleted"}


def not_found(error: ClientError) -> Exception:
    return HTTPException(404, "API key not found") if error.response["Error"]["Code"] == MISSING else error


handler = Mangum(app, lifespan="off")
