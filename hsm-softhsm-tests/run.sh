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

# Where packages put SoftHSM2's module, which is a library and no command. The fixture has the same list.
softhsm_module() {
    # With a token, it names another module, and SoftHSM2 is needed besides.
    if [ -z "${STRONGROOM_TEST_PKCS11_TOKEN:-}" ] && [ -f "${STRONGROOM_TEST_PKCS11_MODULE:-}" ]; then
        return 0
    fi
    for module in \
        /usr/lib/softhsm/libsofthsm2.so \
        /usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so \
        /usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so \
        /usr/lib64/pkcs11/libsofthsm2.so \
        /usr/lib64/softhsm/libsofthsm2.so \
        /usr/lib/pkcs11/libsofthsm2.so \
        /usr/lib/libsofthsm2.so \
        /opt/homebrew/lib/softhsm/libsofthsm2.so \
        /usr/local/lib/softhsm/libsofthsm2.so
    do
        if [ -f "$module" ]; then
            return 0
        fi
    done
    return 1
}

if has apt-get; then
    softhsm=softhsm2
    python=python3-venv
else
    softhsm=softhsm
    python=python3
fi

# Sets `missing` to the packages that are, which have the names of their commands but for three.
look() {
    missing=
    has openssl || missing="$missing openssl"
    # Looks at tokens from outside.
    has pkcs11-tool || missing="$missing opensc"
    softhsm_module || missing="$missing $softhsm"
    # The Azure SDK for Python goes into an environment of its own.
    has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing $python"
    # Linux only: the system calls that the durability tests look at.
    if [ "$(uname -s)" = Linux ]; then
        has strace || missing="$missing strace"
    fi
}

look
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
    look
    [ -z "$missing" ] || fail "still missing after the installation:$missing"
fi

# Where rustup puts it when the shell does not know yet.
if ! has cargo && [ -x "${HOME:-/root}/.cargo/bin/cargo" ]; then
    PATH="${HOME:-/root}/.cargo/bin:$PATH"
    export PATH
fi
has cargo || fail "no cargo here; install Rust 1.89 or newer from https://rustup.rs"

sdk=target/python-sdk
requirements=tests/it/python_sdk/requirements.txt
if ! cmp -s "$requirements" "$sdk/installed"; then
    say "installing the Azure SDK for Python into $sdk"
    rm -rf "$sdk"
    python3 -m venv "$sdk"
    "$sdk/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$sdk/installed"
fi

say "$(cargo --version), $(openssl version), all tests"
cargo test --workspace --all-features --locked
say "all tests passed"
