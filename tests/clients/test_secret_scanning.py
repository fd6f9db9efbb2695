"""The rules of examples/secret-scanning find every API key, and nothing that only looks like one."""

import pathlib
import random
import re
import tomllib
import unittest

import yaml

RULES = pathlib.Path(__file__).resolve().parents[2] / "examples/secret-scanning"
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PLACES = ["{}", "key={}", '"{}"', "Authorization: Search {}", "Search%20{}", r"a\n{}\nb", "{},x", "<{}>", "https://x/{}/rotate", "{}."]


def near(random, key):
    """What looks like a key, and isn't one."""
    replaced = lambda index, new: key[:index] + new + key[index + 1 :]
    inside = random.choice([index for index in range(6, 58) if index not in (31, 32)])
    letter = random.choice([index for index in range(58) if key[index].isupper()])
    place = random.randrange(5, 59)
    yield replaced(random.randrange(58), "")  # a character less
    yield key[:place] + random.choice(ALPHABET) + key[place:]  # one more
    yield replaced(letter, key[letter].lower())
    yield replaced(inside, random.choice("ILOUilou-+/. é٣"))
    yield replaced(random.choice([5, 32]), random.choice(ALPHABET[8:]))  # more than 128 bits
    yield replaced(random.choice([4, 31]), random.choice("-. :" + ALPHABET))  # no underscore
    yield random.choice(["GAIA", "Gaia", "gaja", "gai", "sk"]) + key[4:]
    yield from (key[:31], key[32:], f"{key[:32]}{'x' * 26}", key.lower())


class SecretScanning(unittest.TestCase):
    def test_keys_and_nothing_else(self):
        (gitleaks,) = tomllib.loads((RULES / "gitleaks.toml").read_text())["rules"]
        (trufflehog,) = yaml.safe_load((RULES / "trufflehog.yaml").read_text())["detectors"]
        chance = random.Random(22)
        for text in (gitleaks["regex"], trufflehog["regex"]["api_key"]):
            rule = re.compile(text, re.ASCII)  # Go's \b knows ASCII alone
            for number in range(10_000):
                first, parts = chance.choices(ALPHABET[:8], k=2), ["".join(chance.choices(ALPHABET, k=25)) for _ in range(2)]
                key, place = f"gaia_{first[0]}{parts[0]}_{first[1]}{parts[1]}", PLACES[number % len(PLACES)]
                self.assertEqual(rule.findall(place.format(key)), [key])
                for other in near(chance, key):
                    self.assertEqual(rule.findall(place.format(other)), [], other)


if __name__ == "__main__":
    unittest.main()
