"""The APIs that use the stack's authorizer, and the caches of its responses."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gaia_keys.aws import Stack


class Stage(NamedTuple):
    """`log`: the ARN of its access log and the log's format, if it has one. `empty` empties its cache."""

    api: str
    name: str
    log: tuple[str, str]
    empty: functools.partial[Any]


def empty_caches(stack: Stack) -> list[dict[str, str]]:
    """Empties the cache of each stage of each API that uses the authorizer. A row for each, with what failed.

    `access log` is the stage's log group, if its entries name keys.
    """
    import botocore.exceptions

    function = stack.output("AuthorizerArn").rsplit(":", 1)[0]  # without the alias
    rows = []
    for stage in (*rest_stages(stack, function), *http_stages(stack, function)):
        try:
            stage.empty()
            result = "emptied"
        except botocore.exceptions.ClientError as error:
            result = error.response["Error"]["Code"]
        arn, form = stage.log
        group = arn.rsplit("log-group:", 1)[-1].removesuffix(":*") if "$context.authorizer.key_id" in form else ""
        rows.append({"api": stage.api, "stage": stage.name, "cache": result, "access log": group})
    return rows


def names(function: str, uris: Iterable[str]) -> bool:
    """Whether one of the URIs of an API's authorizers names a function, with an alias or without."""
    return any(f"{function}:" in uri or f"{function}/" in uri for uri in uris)


def rest_stages(stack: Stack, function: str) -> Iterator[Stage]:
    client = stack.client("apigateway")
    for api in client.get_paginator("get_rest_apis").paginate().search("items[] || `[]`"):
        pages = client.get_paginator("get_authorizers").paginate(restApiId=api["id"])
        if not names(function, pages.search("items[].authorizerUri || `[]`")):
            continue
        for each in client.get_stages(restApiId=api["id"]).get("item", []):
            log, name = each.get("accessLogSettings", {}), each["stageName"]
            empty = functools.partial(client.flush_stage_authorizers_cache, restApiId=api["id"], stageName=name)
            where = log.get("destinationArn", ""), log.get("format", "")
            yield Stage(f"REST {api['name']} ({api['id']})", name, where, empty)


def http_stages(stack: Stack, function: str) -> Iterator[Stage]:
    """Those of HTTP APIs: WebSocket APIs have no such cache."""
    client = stack.client("apigatewayv2")
    for api in client.get_paginator("get_apis").paginate().search("Items[?ProtocolType=='HTTP'] || `[]`"):
        pages = client.get_paginator("get_authorizers").paginate(ApiId=api["ApiId"])
        if not names(function, pages.search("Items[].AuthorizerUri || `[]`")):
            continue
        for each in client.get_paginator("get_stages").paginate(ApiId=api["ApiId"]).search("Items[] || `[]`"):
            log, name = each.get("AccessLogSettings", {}), each["StageName"]
            empty = functools.partial(client.reset_authorizers_cache, ApiId=api["ApiId"], StageName=name)
            where = log.get("DestinationArn", ""), log.get("Format", "")
            yield Stage(f"HTTP {api['Name']} ({api['ApiId']})", name, where, empty)
