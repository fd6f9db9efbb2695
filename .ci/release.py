"""Makes a release. .github/workflows/release.yml calls this; CONTRIBUTING.md has the procedure.

    python3 .ci/release.py check TAG                       the tag, the versions in the files and CHANGELOG.md agree
    python3 .ci/release.py build ARCHITECTURE              cargo lambda build for x86_64 or arm64, then package
    python3 .ci/release.py package ARCHITECTURE BOOTSTRAP  target/dist: zip, templates and bill of materials
    python3 .ci/release.py checksums                       target/dist/SHA256SUMS, over all of them
    python3 .ci/release.py notes                           the version's section of CHANGELOG.md

Needs Python 3.11 and no package; build also needs cargo-lambda and ziglang. cargo-cyclonedx is installed where it is missing.
"""

import argparse
import hashlib
import os
import pathlib
import re
import struct
import subprocess
import sys
import tomllib
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ci"))

from jwt_template import jwt_template  # noqa: E402

DIST = ROOT / "target/dist"
# Lambda's name: cargo-lambda's option, the ELF header's e_machine, Rust's target.
ARCHITECTURES = {
    "x86_64": ("--x86-64", 62, "x86_64-unknown-linux-gnu"),
    "arm64": ("--arm64", 183, "aarch64-unknown-linux-gnu"),
}


def read(path):
    return (ROOT / path).read_text()


def version():
    return tomllib.loads(read("Cargo.toml"))["package"]["version"]


def section():
    """What CHANGELOG.md says of this version, or nothing."""
    heading = rf"^## \[{re.escape(version())}\] - \d{{4}}-\d\d-\d\d\n"
    found = re.search(heading + r"(.*?)(?=^## |\Z)", read("CHANGELOG.md"), flags=re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def mistakes(tag):
    """Why the tag can't be released."""
    template = re.search(r"^        RELEASE: (\S+)$", read("template.yaml"), flags=re.MULTILINE)
    openapi = re.search(r"^  version: (\S+)$", read("openapi.yaml"), flags=re.MULTILINE)
    versions = [
        ("openapi.yaml", openapi[1] if openapi else None),
        ("cli/pyproject.toml", tomllib.loads(read("cli/pyproject.toml"))["project"]["version"]),
        ("template.yaml", template[1] if template else None),
        ("the tag", tag.removeprefix("v") if tag.startswith("v") else tag),
    ]
    for page in ("README.md", "docs/deploy.md"):  # names of files and tags
        versions += [(page, named) for named in re.findall(r"(?:gaia-api-keys-|[ /]v)(\d+\.\d+\.\d+)", read(page))]
    found = [f"{where}: {other}, but Cargo.toml: {version()}" for where, other in versions if other != version()]
    if not tag.startswith("v"):
        found.append(f"the tag: {tag}, but v{version()} is expected")
    if not section():
        found.append(f"CHANGELOG.md: no section `## [{version()}] - DATE`, or an empty one")
    return found


def write_zip(path, content):
    """The same bytes whenever and wherever it is made: one file, executable, with a fixed time."""
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, so that the mode counts
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, content, compresslevel=9)


def template(text, architecture, artifact):
    """template.yaml for a released zip: `sam deploy` uploads that file as it is, and builds nothing."""
    edits = [
        ("    CodeUri: ./\n", f"    CodeUri: {artifact}\n"),
        ("    Architectures: [x86_64]\n", f"    Architectures: [{architecture}]\n"),
    ]
    for old, new in edits:
        assert text.count(old) == 1, f"template.yaml holds {text.count(old)} times: {old!r}"
        text = text.replace(old, new)
    return text


def bill_of_materials(path, target):
    """The crates in the binary, as CycloneDX. The tool writes beside Cargo.toml."""
    tools = ROOT / "target/tools"
    if not (tools / "bin/cargo-cyclonedx").exists():
        environment = {name: value for name, value in os.environ.items() if name != "RUSTFLAGS"}  # not for others' code
        install = ["cargo", "install", "--locked", "--quiet", "--root", tools, "cargo-cyclonedx", "--version", "0.5.9"]
        subprocess.run(install, cwd=ROOT, env=environment, check=True)
    options = ["--quiet", "--format", "json", "--spec-version", "1.5", "--no-build-deps", "--override-filename", "sbom"]
    command = [tools / "bin/cargo-cyclonedx", "cyclonedx", *options, "--target", target]
    subprocess.run(command, cwd=ROOT, check=True)
    written = ROOT / "sbom.json"
    path.write_text(written.read_text().replace(f"file://{ROOT}", "file://"))  # whose machine it was is nobody's business
    written.unlink()


def package(architecture, bootstrap, dist=DIST):
    _, machine, target = ARCHITECTURES[architecture]
    content = pathlib.Path(bootstrap).read_bytes()
    found = struct.unpack_from("<H", content, 18)[0] if content[:4] == b"\x7fELF" else None
    if found != machine:
        sys.exit(f"{bootstrap} isn't an executable for {architecture} (ELF machine {found}, expected {machine})")
    dist.mkdir(parents=True, exist_ok=True)
    name = f"gaia-api-keys-{version()}-{architecture}"
    write_zip(dist / f"{name}.zip", content)
    text = template(read("template.yaml"), architecture, f"{name}.zip")
    (dist / f"{name}.yaml").write_text(text)
    (dist / f"{name}-jwt.yaml").write_text(jwt_template(text))
    (dist / f"gaia-api-keys-{version()}-monitoring.yaml").write_text(read("stacks/monitoring.yaml"))
    bill_of_materials(dist / f"{name}.cdx.json", target)


def build(architecture):
    option = ARCHITECTURES[architecture][0]
    subprocess.run(["cargo", "lambda", "build", "--locked", "--release", "--output-format", "binary", option], cwd=ROOT, check=True)
    package(architecture, ROOT / "target/lambda/gaia-api-keys/bootstrap")


def checksums(dist=DIST):
    files = sorted(path for path in dist.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (dist / "SHA256SUMS").write_text("".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check").add_argument("tag")
    commands.add_parser("build").add_argument("architecture", choices=ARCHITECTURES)
    packaging = commands.add_parser("package")
    packaging.add_argument("architecture", choices=ARCHITECTURES)
    packaging.add_argument("bootstrap")
    commands.add_parser("checksums")
    commands.add_parser("notes")
    arguments = parser.parse_args()
    match arguments.command:
        case "check":
            sys.exit("\n".join(mistakes(arguments.tag)) or None)
        case "build":
            build(arguments.architecture)
        case "package":
            package(arguments.architecture, arguments.bootstrap)
        case "checksums":
            checksums()
        case "notes":
            print(section())


if __name__ == "__main__":
    main()
