"""The management API: what can be asked, and what its responses mean."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator, Mapping

from gaia_keys import lossless, responses
from gaia_keys.errors import Changed, Failed, Gone, NoSuchKey, Stopped, TooLong, Unexpected
from gaia_keys.keys import Config, Key

# An ID that no key has: the service checks a config sent to it (422, 413), and then finds no such key (404).
NOBODY = "gaia_00000000000000000000000000"


class Api:
    """Every method raises Failed if the service rejects the request, Stopped if it can't be reached or its response
    isn't what the API documents.

    `key` is a Key as it was read: the change is made only if the key is still that, otherwise Changed.
    """

    def __init__(self, url: str, auth: str, profile: str | None, region: str | None) -> None:
        from gaia_keys.transport import Transport  # takes a while, so only commands that send requests wait for it

        self.transport = Transport(url, auth, profile, region)

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[object, Mapping[str, str]]:
        """The JSON of a 200, and the response's headers."""
        url = self.transport.base + path
        response, doubtful = self.transport.send(method, url, body, headers or {})
        status = response.status
        try:
            content = lossless.loads(response.data.decode())
        except ValueError:
            raise Unexpected(f"HTTP {status}: the response to {method} {url} is not JSON") from None
        if status == 200:
            return content, response.headers
        if status == 412:
            raise Changed(doubtful)
        if status == 404 and content == {"detail": "API key not found"}:
            raise NoSuchKey(doubtful)
        if status == 409 and content == {"detail": "The key created with this Idempotency-Key has been deleted"}:
            raise Gone("the new key has been deleted")
        error = f"{status}: {responses.reason(content)}"
        if status == 413:
            raise TooLong(error)
        if status in (409, 422):
            raise Failed(error)
        if status == 404:
            raise Stopped(f"{error} ({method} {url}). Check --url")
        raise Stopped(error + self.transport.tried(status))

    def keys(self) -> Iterator[Key]:
        """All keys with their details, oldest first; each page is requested when the one before is used up."""
        query, after = "details=true", ""
        while query:
            content, headers = self.ask("GET", f"/?{query}")
            yield from responses.page(content)
            query = responses.following(headers.get("Link", ""))
            before, after = after, urllib.parse.parse_qs(query).get("after", [""])[-1]
            if query and after <= before:
                raise Unexpected("the list has a page that doesn't follow the one before it")

    def find(self, key_id: str) -> Key:
        return responses.one(self.ask("GET", f"/{key_id}")[0], key_id)

    def look_up(self, key_id: str) -> Key | None:
        try:
            return self.find(key_id)
        except NoSuchKey:
            return None

    def create(self, config: Config, idempotency_key: str | None = None) -> str:
        """The new key, secret included; the same again for the same `idempotency_key`."""
        headers = {"Idempotency-Key": idempotency_key or os.urandom(16).hex()}
        return responses.new_key(self.ask("POST", "/", {"config": config}, headers)[0], "created")

    def rotate(self, key: Key, body: dict[str, object], idempotency_key: str) -> responses.Rotated:
        """The new key, and when the old one expires; the same again for the same request. Gone if it was deleted."""
        headers = {"Idempotency-Key": idempotency_key, "If-Match": key.etag}
        return responses.rotated(self.ask("POST", f"/{key.id}/rotate", body, headers)[0], key.id)

    def update(self, key: Key, config: Config) -> None:
        try:
            content, _ = self.ask("PUT", f"/{key.id}", {"config": config}, {"If-Match": key.etag})
        except TooLong as error:
            remedy = f"""gaia-keys update {key.id} --config '{{"FIELD": null}}'"""
            raise Failed(f"{error}. To remove a field: {remedy}") from None
        responses.result(content, "updated", key.id)

    def check(self, config: Config) -> None:
        """Whether the service would accept a config; nothing is created."""
        try:
            self.ask("PUT", f"/{NOBODY}", {"config": config})
        except NoSuchKey:
            return
        raise Unexpected("the response says that a key was updated that can't exist")

    def delete(self, key: Key) -> None:
        try:
            content, _ = self.ask("DELETE", f"/delete/{key.id}", headers={"If-Match": key.etag})
        except NoSuchKey as error:
            if not error.doubtful:  # else an earlier attempt was carried out, and its response got lost
                raise
        else:
            responses.result(content, "deleted", key.id)

    def verify(self, key: str, conditions: dict[str, str]) -> responses.Verdict:
        content, _ = self.ask("POST", "/verify", {"api_key": key, **conditions})
        return responses.verdict(content, key)
