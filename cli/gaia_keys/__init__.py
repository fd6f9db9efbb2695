"""GAIA API keys from a terminal. docs/cli.md says what it does, main.py is where its commands are."""
