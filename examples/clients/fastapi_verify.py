"""A FastAPI service that checks the API keys of its callers: `pip install fastapi uvicorn httpx botocore`, then
`uvicorn fastapi_verify:app`, behind a proxy with --forwarded-allow-ips. docs/clients.md names the variables.

A revoked key works for FRESH seconds more, and for STALE seconds while verify fails. FRESH also counts on ThrottleRate: it
must be at least the number of different requests (key, method, path, address) in FRESH seconds, divided by FRESH.
"""

import asyncio
import hashlib
import logging
import os
import random
import re
import time
from datetime import datetime
from typing import Annotated

import httpx
from botocore.exceptions import BotoCoreError
from fastapi import Depends, FastAPI, HTTPException, Request
from sigv4 import SigV4

FRESH, STALE, MOST = 5, 60, 10_000  # seconds, seconds, results in memory
KEY = re.compile("(?i:search|bearer) +((gaia_[0-7][0-9A-HJKMNP-TV-Z]{25})_[0-7][0-9A-HJKMNP-TV-Z]{25})")
http = httpx.AsyncClient(auth=SigV4(), timeout=2)
results = {}


async def verify(body):
    """Returns verify's response, or None if there is none. It changes nothing, so it may be repeated."""
    for pause in (0.2, 0.5, None):
        try:
            response = await http.post(os.environ["API"] + "/verify", json=body)
            if response.status_code == 200:
                return response.json()
            if response.status_code == 422:  # a path that no key can grant, such as one with ? in it
                return {"valid": False, "reason": "route"}
            problem, passes = response.status_code, response.status_code in (429, 503)
        except (httpx.TransportError, BotoCoreError) as error:
            problem, passes = type(error).__name__, True
        if not passes or pause is None:
            break
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
    logging.error("verify failed: %s", problem)


def seconds_left(config):
    try:
        return datetime.fromisoformat(config["expires_at"]).timestamp() - time.time()
    except ValueError:  # a time that Python can't read: ask each time
        return 0


class Result:
    """verify's last response to one request body, and until when it counts."""

    def __init__(self):
        self.response, self.fresh, self.stale, self.lock = None, 0.0, 0.0, asyncio.Lock()

    async def current(self, body):
        async with self.lock:  # one verify at a time, however many requests wait for it
            now = time.monotonic()
            if now >= self.fresh:
                if response := await verify(body):
                    config = response.get("config", {})
                    left = seconds_left(config) if config.get("expires_at") else STALE
                    self.response, self.fresh, self.stale = response, now + min(FRESH, left), now + min(STALE, left)
                    return response
                self.fresh = time.monotonic() + 1  # a throttled service gets a second without this request
            return self.response if time.monotonic() < self.stale else None


async def verify_key(request: Request) -> dict:
    """The caller's key, {"key_id": …, "config": …}. Raises 401, 403 or, if nobody can say, 503."""
    headers = request.headers.getlist("authorization")
    found = KEY.fullmatch(headers[0]) if len(headers) == 1 else None
    if not found:
        raise HTTPException(401, "API key missing or invalid", {"WWW-Authenticate": "Search"})
    # Always with the route: without it, a key that grants nothing is valid. The path as FastAPI matches it.
    body = {"api_key": found[1], "route": f"{request.method} {request.scope['path']}"}
    if request.client:
        body["source_ip"] = request.client.host
    name = hashlib.sha256(repr(body).encode()).digest()  # no keys in memory that outlive their request
    results[name] = results.pop(name, None) or Result()
    if len(results) > MOST:
        del results[next(iter(results))]  # the one that wasn't used for longest
    response = await results[name].current(body)
    if response is None:
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
