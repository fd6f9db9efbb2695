"""Responses that aren't this API's: one line, exit status 2, and no claim that anything was done."""

import copy

from command import KEY, SAMPLE, Commands, Scripted
from local import KEYS

NEW = "gaia_01BX5ZZKBKACTAV9WEVGEMMVS0_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
OPTIONAL = ("created_by", "updated_at", "updated_by", "last_used_at", "rotated_from", "rotated_to")
DETAILS = {"api_key": KEY, "config": {"permissions": "read"}, "created_at": "2016-07-30T23:54:10.259Z"}
DETAILS |= dict.fromkeys(OPTIONAL) | {"root_key_id": "053bcb62", "etag": '"1"'}
LIST, ONE = ("GET", f"{KEYS}/?details=true"), ("GET", f"{KEYS}/{SAMPLE}")
DELETE, ROTATE = ("DELETE", f"{KEYS}/delete/{SAMPLE}"), ("POST", f"{KEYS}/{SAMPLE}/rotate")
OLD = {"rotated_from": SAMPLE, "rotated_from_expires_at": "2016-07-30T23:54:11Z"}
RIGHT = {
    LIST: [DETAILS],
    ONE: DETAILS,
    ("POST", f"{KEYS}/"): {"api_key": NEW, "result": "created"},
    ("PUT", f"{KEYS}/{SAMPLE}"): {"api_key": KEY, "result": "updated"},
    DELETE: {"api_key": KEY, "result": "deleted"},
    ROTATE: {"api_key": NEW, "result": "rotated"} | OLD,
    ("POST", f"{KEYS}/verify"): {"valid": True, "key_id": SAMPLE, "config": {}},
}
COMMANDS = (
    *(["list"], ["get", SAMPLE], ["create", "x", "--permissions", "read"], ["update", SAMPLE, "--name", "x"], ["verify"]),
    *(["disable", SAMPLE], ["delete", SAMPLE, "--yes"], ["rotate", SAMPLE, "--grace", "0"]),
    ["rotate", "--older-than", "1d", "--grace", "0", "--mapping", "mapping.csv", "--yes"],
    ["import", "keys.csv", "--mapping", "mapping.csv"],
)
STEER = "SECRET\x1b]0;title\x07\x9b31m\r\u202e"


class Responses(Commands):
    def setUp(self):
        super().setUp()
        self.where = {"address": self.enterContext(Scripted(lambda *request: self.answer(*request))).address}
        (self.folder / "keys.csv").write_text("api_key\nold\n")

    def told(self, arguments, answer, status=2):
        """What a command tells whose requests a function answers; it prints nothing."""
        (self.folder / "mapping.csv").unlink(missing_ok=True)
        self.answer = answer
        printed, told = self.run_command(*arguments, stdin=KEY, status=status)
        if status:
            self.assertEqual((printed, told.count("\n"), told[:11]), ("", 1, "gaia-keys: "), told)
        return told

    def stopped(self, arguments, content, at, headers=None, status=200):
        """What it tells if it gets this in place of one right response."""
        wrong = status, headers or {}, content
        answer = lambda method, path, *_: wrong if (method, path) == at else (200, {}, RIGHT.get((method, path), {}))
        with self.subTest(arguments, at=at, content=content):
            told = self.told(arguments, answer)
            self.assertNotIn("SECRET", told)
            return told

    def test_any_other_shape(self):
        """Not an object, an object without a field, a field of another type or with another value."""
        for arguments in COMMANDS:
            seen = {}
            self.told(arguments, lambda method, path, *_: seen.update({(method, path): 1}) or (200, {}, RIGHT[method, path]), 0)
            for at in seen:
                right = RIGHT[at]
                for content in (b"", b"<html>SECRET", b'"\xff"', None, 1, "SECRET", [], {}, {"detail": STEER}, [[]], [1]):
                    if content != [] or at != LIST:  # a list without keys
                        self.stopped(arguments, content, at)
                entry = right[0] if at == LIST else right
                free = {"config": [1, [], {}, True, STEER, None], "valid": [True], "etag": []}
                if "etag" in entry:
                    free |= dict.fromkeys((*OPTIONAL, "created_at", "root_key_id"), [STEER, None, "missing"])
                if at == LIST:
                    free["api_key"] = [STEER]  # someone else's item
                for name in entry:
                    for other in ("missing", 1, [], {}, True, STEER, None):
                        changed = copy.deepcopy(entry) | {name: other}
                        if other == "missing":
                            del changed[name]
                        if other not in free.get(name, []):
                            self.stopped(arguments, [changed] if at == LIST else changed, at)

    def test_a_response_to_something_else(self):
        """A second response on a connection must not be taken for the one that was asked for."""
        delete, rotate = ["delete", SAMPLE, "--yes"], ["rotate", SAMPLE, "--grace", "0"]
        for arguments, other, at in [
            *[(arguments, DETAILS | {"api_key": NEW}, ONE) for arguments in (["get", SAMPLE], ["disable", SAMPLE], delete, rotate)],
            (rotate, RIGHT[ROTATE] | {"rotated_from": NEW[:31]}, ROTATE),
            (["verify"], {"valid": True, "key_id": NEW[:31], "config": {}}, ("POST", f"{KEYS}/verify")),
            (delete, {"api_key": KEY, "result": "updated"}, DELETE),
            (delete, {"api_key": NEW, "result": "deleted"}, DELETE),
        ]:
            self.stopped(arguments, other, at)

    def test_errors_of_any_shape(self):
        details = (None, 1, {}, [], [1], [{}], [{"loc": 1, "msg": "x"}], [{"loc": ["body", {}], "msg": "x"}], [{"loc": [], "msg": []}])
        for status in (300, 301, 400, 401, 403, 404, 405, 418, 429, 500, 503):
            for content in (*details, *({name: detail} for name in ("detail", "message") for detail in details)):
                self.stopped(["list"], content, LIST, {"Location": "http://127.0.0.1:1/"}, status)

    def test_text_of_the_service_steers_no_terminal(self):
        for content in ({"detail": STEER}, {"detail": [{"loc": ["body", STEER], "msg": STEER}]}):
            told = self.told(["create", "x", "--permissions", "read"], lambda *_: (422, {}, content), 1)
            self.assertIn(r"SECRET\x1b]0;title\x07\x9b31m\r\u202e", told)
        shown = DETAILS | dict.fromkeys(("created_by", "updated_by"), STEER) | {"config": {"name": STEER, "routes": [STEER], STEER: 1}}
        for arguments, content in ((["list"], [shown]), (["get", SAMPLE], shown), (["list"], [shown | {"api_key": STEER}])):
            for options in ([], ["--json"], ["--show-keys"]):
                self.told([*arguments, *options], lambda *_: (200, {}, content), 0)

    def test_pages_stay_where_the_list_is(self):
        """No other host, no other path, and no page twice."""
        with Scripted(lambda *_: self.fail("a signed request goes elsewhere")) as elsewhere:
            for link in (
                *(f"{start}{elsewhere.address}{KEYS}/?after=x" for start in ("http://", "//", "http://127.0.0.1@")),
                *("?after=", "?details=true", "?after=\\x", "/elsewhere?after=x", "../../../?after=x", "", "http://[::1?after=x"),
            ):
                for relation in ('rel="next"', "rel=next"):
                    self.assertIn("page", self.stopped(["list"], [], LIST, {"Link": f"<{link}>; {relation}"}), link)
        paths = []
        circle = lambda method, path, *_: paths.append(path) or (200, {"Link": f'<?after={"ba"[len(paths) > 1]}&details=true>; rel="next"'}, [])
        self.told(["list"], circle)
        self.assertEqual(paths, [f"{KEYS}/?details=true", f"{KEYS}/?after=b&details=true"])

    def test_a_pause_has_a_bound(self):
        for asked in ("3600", "999999999999", "-1", "soon", "Fri, 01 Jan 2999 00:00:00 GMT", "", "1e9", "\xb2", "2"):
            for status, attempts in ((429, 6), (503, 6), (418, 1)):
                self.told(["list"], lambda *_: (status, {"Retry-After": asked}, {"detail": "x"}))
                self.assertEqual(len(self.pauses), attempts - 1)
                bounds = (2, 2) if asked == "2" else (0, 20)
                self.assertTrue(all(bounds[0] <= pause <= bounds[1] for pause in self.pauses), (asked, self.pauses))
