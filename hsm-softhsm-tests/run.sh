#!/bin/sh
# Runs every test of the repository, after installing what they need from outside Rust.
#
#     sh hsm-softhsm-tests/run.sh
#
# Nothing is skipped: what cannot be installed or run makes this fail.

set -eu

cd "$(dirname "$0")/.."

say() {
    printf '== %s\n' "$*"
}

fail() {
    printf '== %s\n' "$*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# As root directly, else with sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        fail "installing needs root: run as root, install sudo, or install by hand: $missing"
    fi
}

# Packages have the names of their commands everywhere.
missing=
need() {
    has "$1" || missing="$missing $1"
}

need openssl
# Linux only: the system calls that the durability tests look at.
if [ "$(uname -s)" = Linux ]; then
    need strace
fi

if [ -n "$missing" ]; then
    say "installing:$missing"
    # The names are to be split.
    # shellcheck disable=SC2086
    if has apt-get; then
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
    elif has dnf; then
        as_root dnf install -y -q $missing
    elif has brew; then
        brew install --quiet $missing
    else
        fail "no apt-get, dnf or brew here; install by hand and start again:$missing"
    fi
    for command in $missing; do
        has "$command" || fail "$command is still missing after its installation"
    done
fi

# Where rustup puts it when the shell does not know yet.
if ! has cargo && [ -x "${HOME:-/root}/.cargo/bin/cargo" ]; then
    PATH="${HOME:-/root}/.cargo/bin:$PATH"
    export PATH
fi
has cargo || fail "no cargo here; install Rust 1.89 or newer from https://rustup.rs"

say "$(cargo --version), $(openssl version), all tests"
cargo test --workspace --locked
say "all tests passed"
