"""The runbooks of docs/operations.md: every command that can run here does what they say."""

import re
import time
import unittest

from command import Case
from local import KEYS, ROOT, Gateway, Local, blocks

OPERATIONS = (ROOT / "docs/operations.md").read_text()


class Runbooks(Case):
    def test_the_runbooks(self):
        """Every block of Bash, each with a key of its own, signed as in AWS; the curl function and its variable come first."""
        functions, *scripts = blocks("docs/operations.md", "bash")
        self.assertIn("api() {", functions)
        scripts += re.findall(r"`(gaia-keys [^`]*\$ID[^`]*)`", OPERATIONS)
        used = {word for script in scripts for word in re.findall(r"gaia-keys (\w+)|(?<!\w)(api) ", script) for word in word if word}
        self.assertEqual(used, {"api", "delete", "disable", "enable", "get", "list", "rotate", "update", "verify"})
        for script in scripts:
            with self.subTest(script), Local() as local, Gateway(local) as gateway:
                key = local.create({"permissions": "read", "n": 123456789012345})
                where = {"GAIA_KEYS_URL": f"http://{gateway.address}", "GAIA_KEYS_AUTH": "sigv4", "ID": key[:31], "KEY": key}
                fails = "verify" in script  # its exit status says that the key is valid, which the runbook wants to see denied
                if fails:
                    self.shell("gaia-keys disable $ID", local, **where)
                if script.startswith("git "):
                    leak = "git init -q . && echo $KEY >file && git add file && git -c user.name=x -c user.email=x commit -qm leaked"
                    self.shell(leak, local, **where)
                printed = self.shell(f"{functions}\n{script.rstrip()}{' || test $? = 1' * fails}", local, **where)
                self.assertTrue(printed or script.startswith("ID="))
                self.assertLessEqual({status for *_, status in gateway.requests}, {200})
                if script.startswith("git "):
                    self.assertRegex(printed, r"^\w+ leaked\n$")
                if fails:
                    self.assertEqual(printed, "not valid: disabled\n")
                if "disable" in script or "enabled: false" in script:
                    self.assertEqual(local.list()[key], {"permissions": "read", "n": 123456789012345, "enabled": False})
                if "--grace 0" in script and "older" not in script or '"grace_seconds": 0' in script:
                    valid = [local.send("POST", f"{KEYS}/verify", {"api_key": each})[1]["valid"] for each in local.list()]
                    self.assertEqual(valid.count(True), 2, "the sample key and the new one")

    def test_replacing_the_root_key(self):
        """The commands between the deployments, and what the runbooks say of each step."""
        old, new = "11" * 32, "22" * 32
        for heading, keyrings in (
            ("Replace the root key", (f"{old},{new}", f"{new},{old}", new)),
            ("Handle a stolen root key", (new,)),
        ):
            section = OPERATIONS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
            rotation, = re.findall(r"^ *(SIGNED_BEFORE=.*)\n *(gaia-keys rotate .*)$", section, flags=re.MULTILINE)
            listing = re.findall(r"^ *(gaia-keys list .*)$", section, flags=re.MULTILINE)
            where = {"sample": False, "data": self.folder / f"{len(keyrings)}.db"}
            with Local(ROOT_KEY=old, **where) as local:
                before = local.create({"permissions": "read", "team": "x"})
                bounded = local.create({"permissions": "read", "expires_at": "2999-01-01T00:00:00Z"})
                local.send("PUT", f"{KEYS}/{local.create({})}", {"config": {"enabled": False}})
                if "stolen" in heading:  # as step 3 does in AWS
                    local.table().update_item(
                        Key={"service": "demo#meta", "id": "root_keys"},
                        UpdateExpression="SET accept_any_until = :until",
                        ExpressionAttributeValues={":until": int(time.time()) + 3600},
                    )
            for keyring in keyrings:
                with Local(ROOT_KEY=keyring, **where) as local:
                    verify = lambda key: local.send("POST", f"{KEYS}/verify", {"api_key": key})[1]
                    if keyring.startswith(new) and not (self.folder / "mapping.csv").exists():
                        time.sleep(1.1)  # the time in the command has whole seconds
                        self.assertIn("2 rotated, 0 failed", self.shell("\n".join(rotation), local))
                        mapping = (self.folder / "mapping.csv").read_text()
                        replaced = dict(line.split(",") for line in mapping.splitlines()[1:])
                        self.assertEqual(set(replaced), {before[:31], bounded[:31]})
                        for command in listing:
                            ids = {line.split("\t")[1] for line in self.shell(command, local).splitlines()}
                            self.assertEqual(len(ids), 2, "one of each root key")
                    if (self.folder / "mapping.csv").exists():
                        self.assertEqual([verify(key)["valid"] for key in replaced.values()], [True, True])
                        self.assertEqual(verify(replaced[before[:31]])["config"], {"permissions": "read", "team": "x"})
                    if "," not in keyring:
                        self.assertEqual(verify(before), {"valid": False, "reason": "invalid"})
                        self.assertIn(before[:31], local.list())
                        self.assertEqual(local.send("DELETE", f"{KEYS}/delete/{before}")[0], 404)
                        self.assertEqual(local.send("DELETE", f"{KEYS}/delete/{before[:31]}")[0], 200)
                    elif keyring.startswith(old):
                        self.assertTrue(verify(before)["valid"])
            (self.folder / "mapping.csv").unlink()

    def test_rotating_many(self):
        scripts = [block for block in blocks("docs/operations.md", "bash") if "rotate --older-than 90d" in block]
        self.assertEqual(len(scripts), 2)
        self.assertIn("0 failed", self.shell("".join(scripts)))
        self.assertEqual(len(self.local.list()), 2, "the sample key, and its new one")


if __name__ == "__main__":
    unittest.main()
