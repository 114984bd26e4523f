#!/usr/bin/env python3
"""Reads `cargo metadata` on standard input: fails if a package needs a newer Rust than hooklatch says it does."""

import json
import sys


def version(text):
    return [int(part) for part in text.split(".")]


packages = json.load(sys.stdin)["packages"]
ours = next(package["rust_version"] for package in packages if package["name"] == "hooklatch")
newer = [package for package in packages if version(package["rust_version"] or "0") > version(ours) + [0]]
for package in newer:
    print(f'    {package["name"]} {package["version"]} needs Rust {package["rust_version"]}, Cargo.toml says {ours}')
if newer:
    sys.exit("Raise rust-version in Cargo.toml (and where the docs name it), or hold the package back in Cargo.lock.")
print(f"    {len(packages)} packages: none needs a newer Rust than {ours}")
