#!/usr/bin/env bash
# Sets up an environment on first use (and again when pyproject.toml changes), then runs the command line.
#   ./launch.sh [COMMAND] [options]        ./launch.sh test [what]        ./launch.sh --help
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
venv=${VMBUS_LAB_VENV:-$here/.venv}
stamp=$venv/.vmbus-lab
say() { printf 'vmbus-lab: %s\n' "$*" >&2; }

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "Python 3.11 or newer is needed, and '$python' is not: set PYTHON to one that is"
    exit 2
fi

# VMBUS_LAB_EXTRAS=test,check installs the linters too.
extras=${VMBUS_LAB_EXTRAS:-test}
want="$extras $(cksum <"$here/pyproject.toml")"
have=$(cat "$stamp" 2>/dev/null || true)
if [ "$have" != "$want" ] && [ "$have" != "test,check ${want#* }" ]; then
    say "setting up $venv (first use takes about half a minute)"
    # An environment that works is added to, whichever Python made it; anything else is made anew.
    if ! "$venv/bin/python" -c 'import ssl' 2>/dev/null; then
        rm -rf "$venv"
        # Debian's python3 comes without ensurepip; a pip of the system can fill an environment from outside.
        if ! "$python" -m venv "$venv" 2>/dev/null; then
            rm -rf "$venv"
            if ! "$python" -m pip --version >/dev/null 2>&1 || ! "$python" -m venv --without-pip "$venv"; then
                say "cannot make a virtual environment: install Debian's python3-venv or python3-pip"
                exit 2
            fi
        fi
    fi
    pip=("$venv/bin/python" -m pip)
    "${pip[@]}" --version >/dev/null 2>&1 || pip=("$python" -m pip --python "$venv/bin/python")
    if ! "${pip[@]}" --disable-pip-version-check install --quiet --editable "$here[$extras]" >"$venv/setup.log" 2>&1; then
        say "the packages could not be installed: see $venv/setup.log"
        exit 2
    fi
    printf '%s' "$want" >"$stamp"
fi

case ${1-} in
    test)
        shift
        cd "$here"
        # The tests with a real kernel take minutes: ask for them by name, as continuous integration does.
        [ $# -gt 0 ] || set -- --ignore tests/linux_guest
        exec "$venv/bin/python" -m pytest "$@"
        ;;
    *) exec "$venv/bin/python" -m lab "$@" ;;
esac
