"""The rules of examples/secret-scanning find every API key, and nothing that only looks like one."""

import pathlib
import re
import tomllib
import unittest

import yaml

RULES = pathlib.Path(__file__).resolve().parents[2] / "examples/secret-scanning"
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
KEYS = [f"gaia_{first}{letter * 25}_{first}{letter * 25}" for first in "07" for letter in ALPHABET]
PLACES = ["{}", "key={}", '"{}"', "Authorization: Search {}", "Search%20{}", r"a\n{}\nb", "{},x", "<{}>", "https://x/{}/rotate", "{}."]


def near(key):
    """What looks like a key, and isn't one."""
    for index in range(58):
        before, letter, after = key[:index], key[index], key[index + 1 :]
        if index in (5, 32):
            others = ALPHABET[8:]  # more than 128 bits
        elif letter == "_":
            others = "-. :" + ALPHABET
        elif index < 4:
            others = letter.upper()
        else:
            others = "ILOUilou-+/. é٣" + letter.lower() * letter.isupper()
        yield before + after
        yield from (before + other + after for other in others)
        if index > 4:
            yield before + "7" + letter + after
    yield from ("sk" + key[4:], "gaja" + key[4:], key + "7", key[:31], key[32:], key[:32] + "x" * 26)


class SecretScanning(unittest.TestCase):
    def test_keys_and_nothing_else(self):
        (gitleaks,) = tomllib.loads((RULES / "gitleaks.toml").read_text())["rules"]
        (trufflehog,) = yaml.safe_load((RULES / "trufflehog.yaml").read_text())["detectors"]
        for text in (gitleaks["regex"], trufflehog["regex"]["api_key"]):
            rule = re.compile(text, re.ASCII)  # Go's \b knows ASCII alone
            for key in KEYS:
                for place in PLACES:
                    self.assertEqual(rule.findall(place.format(key)), [key])
                    for other in near(key):
                        self.assertEqual(rule.findall(place.format(other)), [], other)
