"""Answers what only AWS can prove, in an AWS account: python tests/aws/run.py --region eu-central-1

Deploys the repository's stacks under a name of their own, asks the questions of questions.py, prints a table, and removes
everything. Takes about 90 minutes and less than 1 USD. The caller needs an administrator's permissions; use an account for
tests. Exits with 1 if something isn't as expected, with 2 if something is left.
"""

import argparse
import re
import secrets
import signal
import sys
import traceback

from account import Account
from questions import QUESTIONS, Deployment


def row(*cells):
    print("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |", flush=True)


def answer(question, here):
    """What was seen, and the result."""
    print(question.text, file=sys.stderr)
    if here.account.emulated and question.skipped:
        return question.skipped, "skipped"
    try:
        held, seen = question.ask(here)
    except Exception as error:  # the next question may be answered all the same
        traceback.print_exc()
        return f"{type(error).__name__}: {error}", "FAILED"
    return seen, "as expected" if held else "NOT AS EXPECTED"


def run(account, questions):
    """Deploys, asks and removes; the exit status."""
    results = []
    try:
        here = Deployment(account)
        here.deploy()
        row("Question", "Expected", "Seen", "Result")
        row(*["---"] * 4)
        for question in questions:
            seen, result = answer(question, here)
            row(question.text, question.expected, seen, result)
            results.append(result)
    finally:
        left = remove(account)
    if skipped := results.count("skipped"):
        print(f"\nskipped: {skipped} of {len(questions)} questions that only AWS can answer")
    return 2 if left else int(not set(results) <= {"as expected", "skipped"})


def remove(account):
    """Removes everything; what is left."""
    left = ["everything"]
    try:
        left = account.remove()
    finally:
        again = f"To try again: python tests/aws/run.py --region {account.region} --name {account.name} --remove"
        print(*[f"left: {each}" for each in left], *[again] * bool(left), sep="\n", file=sys.stderr)
    return left


def name(text):
    if not re.fullmatch(r"[a-z][a-z0-9-]{2,29}", text):  # it names a bucket, and is part of versions' descriptions
        raise argparse.ArgumentTypeError("3 to 30 lower-case letters, digits and -")
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--region", required=True)
    parser.add_argument("--name", type=name, default=f"gaia-proof-{secrets.token_hex(3)}", help="of the stacks")
    parser.add_argument("--remove", action="store_true", help="only remove what an earlier run of this name left")
    options = parser.parse_args()
    account = Account(options.name, options.region)
    if options.remove:
        return 2 if remove(account) else 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: remove everything first
    return run(account, QUESTIONS)


if __name__ == "__main__":
    sys.exit(main())
