"""What is wrong with the English of the repository: `python tests/docs/prose.py [FILE ...]` prints it.

Errors: words that have a standard term (docs/README.md lists the terms), sentences of more than LONGEST words, table
columns without a heading. Only counted: the passive voice and sentences of more than LONG words.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONG, LONGEST = 25, 35

# What must not be written, and what takes its place. Names of AWS, GAIA and HTTP are in EXEMPT.
WORDS = {
    r"\banswer(s|ed|ing)?\b": "response; respond, return",
    r"\brefus(e|es|ed|ing|als?)\b": "deny, denial; reject",
    r"\bvoid\b": "invalid",
    r"\b(tells?|told|telling)\b": "say, show, return",
    r"\bmembers?\b": "field",
    r"\bmint(s|ed|ing)?\b": "create",
    r"\bmasters?\b": "root key, KMS key",
    r"\b(un)?heal(s|ed)?\b|\bmend(s|ed)?\b": "fix, recover",
    r"\bto the letter\b": "unchanged",
    r"\bpassed over\b": "ignored",
    r"\b(doors?|rooms?)\b": "entry point, module",
    r"\b(audit|log|denied|usage) lines?\b": "log entry",
    r"\b(un)?narrow(s|ed)?\b|\bwiden(s|ed)?\b": "restrict, extend",
    r"\b(younger|older) than an? (id|key)\b": "created after, before",
    r"\blaptops?\b": "local",
    r"\b(requests?|units?|reads?|writes?|checks?|[KMG]B|instances?|times|creates|lists|updates) an? (second|minute|hour|day|month|key|request|check|instance)\b": "per",
    r"\b[wW]ho(ever)? (manages|has|had|looks|administers|made|wants|asks|may)\b": "operators, anyone who",
    r"\bids?\b": "ID",
    r"\be\.g\.|\bi\.e\.|\betc\.": "for example, that is, and so on",
    r"\b(simply|please|obviously|of course)\b": "(leave it out)",
    r"\bopens? (it|them|nothing|others?|other|exactly|too much|every|all|more)\b": "grant, allow",
}
# The last three are pydantic's words and DynamoDB's expressions.
EXEMPT = re.compile(r"idempotency records?|team members?|enumeration member|\bid, (config|CODE)|AND id (>|BETWEEN)")

PASSIVE = re.compile(r"\b(is|are|was|were|be|been|being)\s+(\w+ly\s+)?(\w+ed|made|sent|kept|written|read|shown|given|taken|found|known|held|set|put|built|lost)\b")


def tracked(*patterns):
    return subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def markdown():
    return [name for name in tracked("*.md") if "contract/" not in name]


def spoken():
    """Every file with English of ours, the Markdown apart."""
    folders = ("src/*.rs", "examples/*", "cli/*.py", "benches/*.rs", "benches/*.py", "fuzz/*.rs", ".github/*", ".ci/*", "*.sh")
    found = tracked(*folders, "template.yaml", "openapi.yaml", "samconfig.toml", "Cargo.toml")
    return [name for name in found if not name.endswith((".md", ".json"))]


def without_code(text):
    """A Markdown text in which code is blank, on the same lines."""
    blank = lambda found: re.sub(r"[^\n]", " ", found[0])
    text = re.sub(r"^( *)(```|~~~).*?^\1\2", blank, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", blank, text, flags=re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "CODE", text)
    return re.sub(r"\]\([^)]*\)", "]", text)


def english(name, text):
    """The lines of a file that people read: all of a Markdown text's, elsewhere comments, descriptions and messages."""
    if name.endswith(".md"):
        return without_code(text).splitlines()
    comment = {".rs": r"//", ".ts": r"//|/\*\*", ".js": r"//"}.get(Path(name).suffix, "#")
    lines = []
    for line in text.splitlines():
        code, *said = re.split(comment, line, maxsplit=1)
        messages = " ".join(re.findall(r'"([^"]* [^"]*)"', code))
        if name.endswith((".yaml", ".yml")) and not re.match(r"^\s*[\w/{}.-]+:( |$)(?!.*[a-z] [a-z]+ )", code):
            messages = code
        lines.append(re.sub(r"`[^`]*`|\$\([^)]*\)|\{[^}]*\}|\$\w+|\S*[/_]\S*", "CODE", " ".join([messages, *said])))
    return lines


def banned(name, text):
    for number, line in enumerate(english(name, text), start=1):
        for word, instead in WORDS.items():
            for found in re.finditer(word, EXEMPT.sub("", line)):
                yield f"{name}:{number}: “{found[0]}”: {instead}"


def empty_headings(name, text):
    lines = text.splitlines()
    for number, (above, line) in enumerate(zip(lines, lines[1:]), start=1):
        if re.fullmatch(r"\|( *:?-+:? *\|)+", line) and any(not cell.strip() for cell in above.strip().strip("|").split("|")):
            yield f"{name}:{number}: a column without a heading"


def sentences(text):
    """The sentences of a Markdown text, each with the line that it begins on. A cell of a table or an item of a list ends one."""
    paragraph, begun = [], 0
    for number, line in enumerate([*without_code(text).splitlines(), ""], start=1):
        ends = not line.strip() or line.startswith(("#", "|", "!")) or re.match(r"\s*([-*]|\d+\.) ", line)
        if ends and paragraph:
            said = " ".join(paragraph)
            for sentence in re.split(r"(?<=[.!?])[\"”*)]*\s+(?=[A-Z`*\[(C])", said):
                yield begun, sentence.strip()
            paragraph = []
        if line.startswith("|"):
            for cell in line.strip().strip("|").split("|"):
                for sentence in re.split(r"(?<=[.!?;])\s+", cell):
                    yield number, sentence.strip()
        elif line.strip() and not line.startswith(("#", "!")):
            if not paragraph:
                begun = number
            paragraph.append(re.sub(r"^\s*([-*]|\d+\.) ", "", line.strip()))


def words(sentence):
    return re.findall(r"[\w’'-]*[A-Za-z][\w’'-]*", sentence)


def too_long(name, text, limit=LONGEST):
    for number, sentence in sentences(text):
        if len(words(sentence)) > limit:
            yield f"{name}:{number}: {len(words(sentence))} words: {sentence[:70]}…"


def main(names):
    print(f"{'file':<34}{'sentences':>10}{f'>{LONG} words':>12}{'passive':>9}{'errors':>8}")
    every = []
    for name in names or markdown() + spoken():
        text = (ROOT / name).read_text()
        found = list(banned(name, text))
        if name.endswith(".md"):
            found += [*empty_headings(name, text), *too_long(name, text)]
            said = list(sentences(text))
            counts = (len(said), len(list(too_long(name, text, LONG))), sum(bool(PASSIVE.search(s)) for _, s in said))
            print(f"{name:<34}{counts[0]:>10}{counts[1]:>12}{counts[2]:>9}{len(found):>8}")
        elif found:
            print(f"{name:<34}{'':>31}{len(found):>8}")
        every += found
    print(*every, sep="\n")
    return bool(every)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
