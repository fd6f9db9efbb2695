"""What is said of the tree is there: modules, files that are named, links."""

import re
import unittest

from local import ROOT

OURS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "events/README.md", "examples/cdk/README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def anchors(text):
    """GitHub's names of the headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Documents(unittest.TestCase):
    def test_every_module_is_described(self):
        modules = re.findall(r"^\| `([\w/]+\.rs)` \|", (ROOT / "docs/architecture.md").read_text(), flags=re.MULTILINE)
        self.assertEqual(sorted(modules), sorted(str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.rs")))

    def test_links_lead_somewhere(self):
        for name in OURS:
            document = ROOT / name
            for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
                if target.startswith("https://"):
                    continue
                path, _, anchor = target.partition("#")
                found = (document.parent / path).resolve() if path else document
                with self.subTest(document=name, target=target):
                    self.assertTrue(found.is_file())
                    if anchor:
                        self.assertIn(anchor, anchors(found.read_text()))

    def test_named_files_exist(self):
        for name in OURS:
            for path in re.findall(r"\b((?:tests|cli|examples|docs|src)/[\w./-]*\w)", (ROOT / name).read_text()):
                with self.subTest(document=name, path=path):
                    self.assertTrue((ROOT / path).exists())

    def test_no_placeholders(self):
        for name in OURS:
            self.assertEqual(re.findall(r"@[a-z]+@", (ROOT / name).read_text()), [], name)

    def test_the_version_has_an_entry(self):
        version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), flags=re.MULTILINE)[1]
        self.assertIn(f"## [{version}]", (ROOT / "CHANGELOG.md").read_text())


if __name__ == "__main__":
    unittest.main()
