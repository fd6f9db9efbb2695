"""Responses that aren't this API's: one line, exit status 2, and no claim that anything was done."""

import contextlib
import copy
import io
import os
import unittest
import warnings
from unittest import mock

from command import SAMPLE, Commands, Scripted, settings
from gaia_keys.main import main
from local import KEYS

KEY = f"{SAMPLE}_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
NEW = "gaia_01BX5ZZKBKACTAV9WEVGEMMVS0_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
DETAILS = {
    "api_key": KEY,
    "config": {"permissions": "read"},
    "created_at": "2016-07-30T23:54:10.259Z",
    "created_by": "anonymous",
    "updated_at": None,
    "updated_by": None,
    "last_used_at": None,
    "rotated_from": None,
    "rotated_to": None,
    "root_key_id": "053bcb62",
    "etag": '"1"',
}
RIGHT = {
    ("GET", f"{KEYS}/?details=true"): [DETAILS],
    ("GET", f"{KEYS}/{SAMPLE}"): DETAILS,
    ("POST", f"{KEYS}/"): {"api_key": NEW, "result": "created"},
    ("PUT", f"{KEYS}/{SAMPLE}"): {"api_key": KEY, "result": "updated"},
    ("DELETE", f"{KEYS}/delete/{SAMPLE}"): {"api_key": KEY, "result": "deleted"},
    ("POST", f"{KEYS}/{SAMPLE}/rotate"): {
        "api_key": NEW,
        "result": "rotated",
        "rotated_from": SAMPLE,
        "rotated_from_expires_at": "2016-07-30T23:54:11Z",
    },
    ("POST", f"{KEYS}/verify"): {"valid": True, "key_id": SAMPLE, "config": {}},
}
COMMANDS = (
    ["list"],
    ["get", SAMPLE],
    ["create", "x", "--permissions", "read"],
    ["update", SAMPLE, "--name", "x"],
    ["disable", SAMPLE],
    ["enable", SAMPLE],
    ["delete", SAMPLE, "--yes"],
    ["rotate", SAMPLE, "--grace", "0"],
    ["rotate", "--older-than", "1d", "--grace", "0", "--mapping", "mapping.csv", "--yes"],
    ["verify"],
    ["import", "keys.csv", "--mapping", "mapping.csv"],
)
STEER = "SECRET\x1b]0;title\x07\x9b31m\r\u202e"


class Responses(Commands):
    def setUp(self):
        super().setUp()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.server = self.enterContext(Scripted(lambda *request: self.answer(*request)))
        (self.folder / "keys.csv").write_text("api_key\nold\n")

    def main(self, *arguments):
        """The exit status, and what was printed and told: `main` in this process, as most of a process's time is its start.

        `answer` is what the server does; `pauses` has the seconds that the command would have waited.
        """
        (self.folder / "mapping.csv").unlink(missing_ok=True)
        streams = [io.TextIOWrapper(io.BytesIO(text), encoding="utf-8") for text in (KEY.encode(), b"", b"")]
        stdin, stdout, stderr = streams
        environment = mock.patch.dict(os.environ, settings(self.server.address), clear=True)
        self.pauses = []
        with contextlib.ExitStack() as stack:
            stack.enter_context(environment)
            stack.enter_context(mock.patch("sys.argv", ["gaia-keys", *arguments]))
            stack.enter_context(mock.patch("sys.stdin", stdin))
            stack.enter_context(mock.patch("time.sleep", self.pauses.append))
            stack.enter_context(contextlib.redirect_stdout(stdout))
            stack.enter_context(contextlib.redirect_stderr(stderr))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", ResourceWarning)  # a process ends with its files open
            ended = stack.enter_context(self.assertRaises(SystemExit))
            main()
        printed, told = (stream.flush() or stream.buffer.getvalue().decode() for stream in (stdout, stderr))
        self.assertNotIn("\x1b", printed + told)
        self.assertNotIn("\x9b", printed + told)
        self.assertNotIn("Traceback", told)
        return ended.exception.code, printed, told

    def stopped(self, arguments, content, at, headers=None, status=200):
        """What a command tells that gets this in place of one right response."""

        def answer(method, path, *_):
            if (method, path) == at:
                return status, headers or {}, content
            return 200, {}, RIGHT.get((method, path), {})

        self.answer = answer
        code, printed, told = self.main(*arguments)
        self.assertEqual((code, printed), (2, ""), f"{arguments} {at} {content}: {told}")
        self.assertTrue(told.startswith("gaia-keys: "), told)
        self.assertEqual(told.count("\n"), 1, told)
        self.assertNotIn("SECRET", told)
        return told

    def requests(self, arguments):
        """What a command requests of a service whose responses are right."""
        seen = []

        def answer(method, path, *_):
            seen.append((method, path))
            return 200, {}, RIGHT[method, path]

        self.answer = answer
        code, printed, told = self.main(*arguments)
        self.assertEqual(code, 0, told)
        return list(dict.fromkeys(seen))

    def test_any_other_shape(self):
        """Not an object, an object without a field, a field of another type or with another value."""
        for arguments in COMMANDS:
            for at in self.requests(arguments):
                right = RIGHT[at]
                for content in (b"", b"<html>SECRET", b"{", b'"\xff"', None, 1, "SECRET", [], {}, {"ok": True}, {"detail": STEER}, [[]], [1]):
                    if content == [] and isinstance(right, list):
                        continue  # a list without keys
                    self.stopped(arguments, content, at)
                entry = right[0] if isinstance(right, list) else right
                optional = {name for name in DETAILS if name not in ("api_key", "config", "etag")} if "etag" in entry else set()
                for name, value in entry.items():
                    others = [1, [], {}, True, STEER, None]
                    for other in ["missing", *others]:
                        changed = copy.deepcopy(entry)
                        changed[name] = other
                        if other == "missing":
                            del changed[name]
                        free = name == "config" or name in optional and (other in ("missing", None) or other == STEER)
                        free |= name == "api_key" and other == STEER and isinstance(right, list)  # someone else's item
                        if name != "config" and not free and (name, other) != ("valid", True):
                            self.stopped(arguments, [changed] if isinstance(right, list) else changed, at)

    def test_delete_says_deleted_only_if_the_service_does(self):
        at = ("DELETE", f"{KEYS}/delete/{SAMPLE}")
        for content in ({"ok": True}, {"api_key": KEY, "result": "updated"}, {"api_key": NEW, "result": "deleted"}):
            self.assertNotIn("was deleted", self.stopped(["delete", SAMPLE, "--yes"], content, at))

    def test_a_response_to_something_else(self):
        """A second response on a connection must not be taken for the one that was asked for."""
        other = DETAILS | {"api_key": NEW}
        for arguments in (["get", SAMPLE], ["disable", SAMPLE], ["delete", SAMPLE, "--yes"], ["rotate", SAMPLE, "--grace", "0"]):
            self.stopped(arguments, other, ("GET", f"{KEYS}/{SAMPLE}"))
        rotated = RIGHT["POST", f"{KEYS}/{SAMPLE}/rotate"]
        self.stopped(["rotate", SAMPLE, "--grace", "0"], rotated | {"rotated_from": NEW[:31]}, ("POST", f"{KEYS}/{SAMPLE}/rotate"))
        self.stopped(["verify"], {"valid": True, "key_id": NEW[:31], "config": {}}, ("POST", f"{KEYS}/verify"))

    def test_errors_of_any_shape(self):
        for status in (300, 301, 400, 401, 403, 404, 405, 418, 429, 500, 503):
            for detail in (None, 1, {}, [], [1], [[]], [{}], [{"loc": 1, "msg": "x"}], [{"loc": ["body", {}], "msg": "x"}], [{"loc": [], "msg": []}]):
                for content in ({"detail": detail}, {"message": detail}, detail):
                    self.stopped(["list"], content, ("GET", f"{KEYS}/?details=true"), {"Location": "http://127.0.0.1:1/"}, status)

    def test_text_of_the_service_steers_no_terminal(self):
        for content in ({"detail": STEER}, {"detail": [{"loc": ["body", STEER], "msg": STEER}]}):
            self.answer = lambda *_: (422, {}, content)
            code, printed, told = self.main("create", "x", "--permissions", "read")
            self.assertEqual((code, printed, told.count("\n")), (1, "", 1))
            self.assertIn(r"SECRET\x1b]0;title\x07\x9b31m\r\u202e", told)
        shown = DETAILS | {name: STEER for name in ("created_by", "updated_by")} | {"config": {"name": STEER, "routes": [STEER], STEER: 1}}
        for arguments, content in ((["list"], [shown]), (["get", SAMPLE], shown), (["list"], [shown | {"api_key": STEER}])):
            for options in ([], ["--json"], ["--show-keys"]):
                self.answer = lambda *_: (200, {}, content)
                code, printed, _ = self.main(*arguments, *options)
                self.assertEqual(code, 0)
                self.assertNotRegex(printed, "[\x00-\x09\x0b-\x1f\x80-\x9f\u202e]")

    def test_pages_stay_where_the_list_is(self):
        """No other host, no other path, and no page twice."""
        requests = []
        with Scripted(lambda *request: requests.append(request[2]) or (200, {}, [])) as elsewhere:
            for link in (
                f"<http://{elsewhere.address}{KEYS}/?after=x>",
                f"<//{elsewhere.address}{KEYS}/?after=x>",
                f"<http://127.0.0.1@{elsewhere.address}/?after=x>",
                "<?after=>",
                "<?details=true>",
                "<?after=\\x>",
                "</elsewhere?after=x>",
                "<../../../?after=x>",
                "<>",
                "<http://[::1?after=x>",
            ):
                at = ("GET", f"{KEYS}/?details=true")
                self.assertIn("page", self.stopped(["list"], [], at, {"Link": f'{link}; rel="next"'}), link)
        self.assertEqual(requests, [])
        paths = []

        def circle(method, path, *_):
            paths.append(path)
            return 200, {"Link": f'<?after={"ba"[len(paths) > 1]}&details=true>; rel="next"'}, []

        self.answer = circle
        self.assertEqual(self.main("list")[0], 2)
        self.assertEqual(paths, [f"{KEYS}/?details=true", f"{KEYS}/?after=b&details=true"])

    def test_a_pause_has_a_bound(self):
        for asked in ("3600", "999999999999", "-1", "soon", "Fri, 01 Jan 2999 00:00:00 GMT", "", "1e9", "\xb2"):
            for status, attempts in ((429, 6), (503, 6), (413, 1)):
                self.answer = lambda *_: (status, {"Retry-After": asked}, {"detail": "x"})
                self.main("list")
                self.assertEqual(len(self.pauses), attempts - 1)
                self.assertTrue(all(0 <= pause <= 20 for pause in self.pauses), (asked, self.pauses))
        self.answer = lambda *_: (503, {"Retry-After": "2"}, {"detail": "x"})
        self.main("list")
        self.assertEqual(self.pauses, [2] * 5)


if __name__ == "__main__":
    unittest.main()
