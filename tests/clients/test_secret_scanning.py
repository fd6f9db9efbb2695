"""The rules of examples/secret-scanning find every API key, and nothing that only looks like one."""

import hashlib
import hmac
import json
import random
import re
import shutil
import subprocess
import tempfile
import tomllib
import unittest
from pathlib import Path

import yaml

RULES = Path(__file__).resolve().parents[2] / "examples/secret-scanning"
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PLACES = ["{}", "key={}", '"{}"', "Authorization: Search {}", "Search%20{}", r"a\n{}\nb", "{},x", "<{}>", "https://x/{}/rotate", "{}."]


def base32(number):
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def generated(random, root_key=bytes(range(32)), service="demo", ulid=None):
    """A key, derived as docs/security.md says."""
    ulid = ulid or base32(random.getrandbits(128))
    field = lambda text: len(text).to_bytes(4, "big") + text.encode()
    tag = hmac.digest(root_key, field("gaia-api-key/v1") + field(service) + field(ulid), hashlib.sha256)
    return f"gaia_{ulid}_{base32(int.from_bytes(tag[:16], 'big'))}"


def near(random, key):
    """What looks like a key, and isn't one."""
    replaced = lambda index, new: key[:index] + new + key[index + 1 :]
    inside = random.choice([index for index in range(6, 58) if index not in (31, 32)])
    letter = random.choice([index for index in range(58) if key[index].isupper()])
    place = random.randrange(5, 59)
    return random.choice(
        [
            replaced(random.randrange(58), ""),  # a character less
            key[:place] + random.choice(ALPHABET) + key[place:],  # one more
            replaced(letter, key[letter].lower()),
            replaced(inside, random.choice("ILOUilou-+/. é٣")),
            replaced(random.choice([5, 32]), random.choice(ALPHABET[8:])),  # more than 128 bits
            replaced(random.choice([4, 31]), random.choice("-. :" + ALPHABET)),  # no underscore
            random.choice(["GAIA", "Gaia", "gaja", "gai", "sk"]) + key[4:],
            key[:31],
            key[32:],
            f"{key[:32]}{'x' * 26}",
            key.lower(),
        ]
    )


def rules():
    """The regular expression of each scanner."""
    (rule,) = tomllib.loads((RULES / "gitleaks.toml").read_text())["rules"]
    (detector,) = yaml.safe_load((RULES / "trufflehog.yaml").read_text())["detectors"]
    # Go's \b knows ASCII alone.
    texts = {"gitleaks": rule["regex"], "TruffleHog": detector["regex"]["api_key"]}
    return {name: re.compile(text, re.ASCII) for name, text in texts.items()}


class SecretScanning(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(22)
        self.keys = [generated(self.random) for _ in range(10_000)]

    def test_the_derivation(self):
        """The sample key of events/README.md."""
        key = generated(self.random, ulid="01ARZ3NDEKTSV4RRFFQ69G5FAV")
        self.assertEqual(key, "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV_22K4KK659SYTCHNBQB1Z55H2Z7")

    def test_no_key_is_missed(self):
        for name, rule in rules().items():
            for number, key in enumerate(self.keys):
                text = PLACES[number % len(PLACES)].format(key)
                self.assertEqual(rule.findall(text), [key], f"{name}: {text}")

    def test_nothing_else_is_found(self):
        for name, rule in rules().items():
            for number, key in enumerate(self.keys):
                text = PLACES[number % len(PLACES)].format(near(self.random, key))
                self.assertEqual(rule.findall(text), [], f"{name}: {text}")

    @unittest.skipUnless(shutil.which("gitleaks"), "there is no gitleaks")
    def test_gitleaks_itself(self):
        with tempfile.TemporaryDirectory() as folder:
            lines = [PLACES[number % len(PLACES)].format(key) for number, key in enumerate(self.keys)]
            lines += [near(self.random, key) for key in self.keys]
            # Blank lines: gitleaks reads files in parts, and may miss what stands across an end without one.
            Path(folder, "file.txt").write_text("\n\n\n".join(lines))
            report = Path(folder, "report.json")
            command = ["gitleaks", "dir", "--exit-code=0", f"--config={RULES}/gitleaks.toml", f"--report-path={report}", folder]
            subprocess.run(command, check=True, capture_output=True)
            found = [entry["Secret"] for entry in json.loads(report.read_text()) if entry["RuleID"] == "gaia-api-key"]
            self.assertEqual(set(found), set(self.keys))  # it finds one behind %20 twice, because it also decodes


if __name__ == "__main__":
    unittest.main()
