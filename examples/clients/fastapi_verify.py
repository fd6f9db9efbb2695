"""A FastAPI service that checks the API keys of its callers: `pip install fastapi uvicorn httpx botocore cachetools`, then
`uvicorn fastapi_verify:app`, behind a proxy with --forwarded-allow-ips. docs/clients.md names the variables.

A revoked key works for FRESH seconds more, and for STALE seconds while verify fails. FRESH also counts on ThrottleRate: it
must be at least the number of different requests (key, method, path, address) in FRESH seconds, divided by FRESH.
"""

import asyncio
import hashlib
import logging
import os
import re
from datetime import datetime, timezone
from typing import Annotated

import httpx
from botocore.exceptions import BotoCoreError
from cachetools import TTLCache
from fastapi import Depends, FastAPI, HTTPException, Request
from sigv4 import SigV4

FRESH, STALE, MOST = 5, 60, 10_000  # seconds, seconds, results in memory
KEY = re.compile("(?i:search|bearer) +((gaia_[0-7][0-9A-HJKMNP-TV-Z]{25})_[0-7][0-9A-HJKMNP-TV-Z]{25})")
http = httpx.AsyncClient(auth=SigV4(), timeout=2)
asked, known = TTLCache(MOST, FRESH), TTLCache(MOST, STALE)  # tasks and responses of verify, by digest of the request's body


async def verify(name, body):
    """Returns verify's response, or None if there is none. It changes nothing, so it may be repeated."""
    for pause in (0.2, 0.5, 0):
        try:
            response = await http.post(os.environ["API"] + "/verify", json=body)
            problem = response.status_code
            if problem in (200, 422):  # 422: a path that no key can grant, such as one with ? in it
                known[name] = response.json() if problem == 200 else {"valid": False, "reason": "route"}
                return known[name]
            if problem not in (429, 503):
                break
        except (httpx.TransportError, BotoCoreError) as error:
            problem = type(error).__name__
        await asyncio.sleep(pause)
    logging.error("verify failed: %s", problem)
    asyncio.get_running_loop().call_later(1, asked.pop, name, None)  # a throttled service gets a second without this request


def usable(response):
    """Whether a response still counts. An end that can't be read has passed: verify is asked again."""
    if response is None:
        return False
    end = response.get("valid_until")
    try:  # Python 3.10 doesn't read the Z
        return end is None or datetime.fromisoformat(end.replace("Z", "+00:00")) > datetime.now(timezone.utc)
    except ValueError:
        return False


async def verify_key(request: Request) -> dict:
    """The caller's key, {"key_id": …, "valid_until"?: …, "config": …}. Raises 401, 403 or, if nobody can say, 503."""
    headers = request.headers.getlist("authorization")
    found = KEY.fullmatch(headers[0]) if len(headers) == 1 else None
    if not found:
        raise HTTPException(401, "API key missing or invalid", {"WWW-Authenticate": "Search"})
    # Always with the route: without it, a key that grants nothing is valid. The path as FastAPI matches it.
    body = {"api_key": found[1], "route": f"{request.method} {request.scope['path']}"}
    body |= {"source_ip": request.client.host} if request.client else {}
    name = hashlib.sha256(repr(body).encode()).digest()  # no keys in memory that outlive their request
    task = asked.get(name)
    if task is None or (task.done() and task.result() and not usable(task.result())):
        task = asked[name] = asyncio.create_task(verify(name, body))  # however many requests wait for it
    response = await asyncio.shield(task)
    if response is None:
        response = known.get(name)
        if not usable(response):
            raise HTTPException(503, "API keys can't be checked at the moment", {"Retry-After": "1"})
    if response["valid"]:
        return response
    logging.warning("denied %s: %s", found[2], response["reason"])
    if response["reason"] in ("permission", "route", "source_ip"):
        raise HTTPException(403, "API key doesn't allow this request")
    raise HTTPException(401, "API key missing or invalid", {"WWW-Authenticate": "Search"})  # nor whether it ever existed


app = FastAPI()


@app.api_route("/items/{item}", methods=["GET", "POST"])
async def item(item: str, key: Annotated[dict, Depends(verify_key)]):
    return {"item": item, "key_id": key["key_id"]}
