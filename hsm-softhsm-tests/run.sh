#!/bin/sh
# Runs every test of the repository, after installing what they need from outside Rust.
#
#     sh hsm-softhsm-tests/run.sh
#     sh hsm-softhsm-tests/run.sh --long [factor]
#
# Nothing is skipped: what cannot be installed or run makes this fail.
#
# With `--long`, only the tests run that repeat something many times: kills, power cuts, faults, damage, races. They do
# it as often as their long figures say, times the factor (1 unless given, such as 0.1). On Linux the instructions of the
# hot path are counted besides. Both ways end with a table of what was counted, cases and defects.

set -eu

long=
case "${1:-}" in
    '') ;;
    --long) long=${2:-1} ;;
    *)
        printf 'usage: %s [--long [factor]]\n' "$0" >&2
        exit 2
        ;;
esac

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
        # Builds what lets calls of the C library fail.
        has gcc || missing="$missing gcc"
        # Counts instructions in the long run.
        [ -z "$long" ] || has valgrind || missing="$missing valgrind"
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

# What the tests count, one line of JSON for each, or for each part of one.
STRONGROOM_FIGURES=${STRONGROOM_FIGURES:-$PWD/target/figures.jsonl}
export STRONGROOM_FIGURES
mkdir -p "$(dirname "$STRONGROOM_FIGURES")"
: >"$STRONGROOM_FIGURES"

# Adds up the lines of each test.
table() {
    awk '
        function value(name) {
            if (!match($0, "\"" name "\":[0-9]+")) return 0
            return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) + 0
        }
        BEGIN {
            count = split("cases losses halves false_alarms failed_opens panics hangs others seconds", names, " ")
        }
        match($0, /"test":"[^"]*"/) {
            test = substr($0, RSTART + 8, RLENGTH - 9)
            if (!(test in known)) { known[test] = 1; order[++tests] = test }
            for (i = 1; i <= count; i++) sum[test, i] += value(names[i])
        }
        END {
            printf "| test"
            for (i = 1; i <= count; i++) { name = names[i]; gsub("_", " ", name); printf " | %s", name }
            printf " |\n| ---"
            for (i = 1; i <= count; i++) printf " | ---:"
            printf " |\n"
            for (t = 1; t <= tests; t++) {
                printf "| %s", order[t]
                for (i = 1; i <= count; i++) { printf " | %d", sum[order[t], i]; all[i] += sum[order[t], i] }
                printf " |\n"
            }
            printf "| all"
            for (i = 1; i <= count; i++) printf " | %d", all[i]
            printf " |\n"
        }
    ' "$STRONGROOM_FIGURES"
}

if [ -z "$long" ]; then
    say "$(cargo --version), $(openssl version), all tests"
    outcome=0
    cargo test --workspace --all-features --locked || outcome=$?
    table
    [ "$outcome" -eq 0 ] || exit "$outcome"
    say "all tests passed"
    exit 0
fi

say "$(cargo --version), long runs, $long times their figures"
STRONGROOM_LONG=$long
export STRONGROOM_LONG
outcome=0
# Mutations of what the fuzzing targets take: 360 times those of the short run, times the factor.
STRONGROOM_FUZZ_FACTOR=$(awk -v factor="$long" 'BEGIN { n = int(360 * factor); print n < 1 ? 1 : n }')
export STRONGROOM_FUZZ_FACTOR
# One after the other: each keeps all processors busy.
cargo test --profile long --all-features --locked --lib -- --test-threads=1 \
    store::tests::fire store::tests::power_cuts schedules || outcome=$?
cargo test --profile long --all-features --locked --test it -- --test-threads=1 \
    crash:: tamper:: model:: rules::concurrency cross_check:: corpus:: || outcome=$?
cargo test --profile long --all-features --locked --test aws_lc -- --test-threads=1 cross_check:: || outcome=$?
cargo test --profile long -p hsm-softhsm-tests --locked --test it -- --test-threads=1 \
    faults::kill faults::soak cross_check:: || outcome=$?
# Valgrind is asked for on Linux only. The factor changes nothing here.
if [ "$(uname -s)" = Linux ]; then
    cargo bench --bench instructions --locked || outcome=$?
fi
table
[ "$outcome" -eq 0 ] || fail "not all was as it has to be"
say "all long runs passed"
