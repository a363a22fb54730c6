#!/bin/sh
# Makes .venv with the locked requirements of a set, `local` or `dev`; silent and quick when that is done already.
# Needs Python 3.11, 3.12 or 3.13 and nothing else. PYTHON names an interpreter to use instead of the first one found.
set -eu

cd "$(dirname "$0")/../.."
set_name=$1
venv=.venv
stamp=$venv/installed

supported='import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))'
# What is installed is judged by the interpreter's version and the lock's content, never by times of files.
describe='import hashlib, pathlib, platform, sys
for name in sys.argv[1:]:
    lock = pathlib.Path(f"requirements-{name}.lock").read_bytes()
    print(name, platform.python_version(), hashlib.sha256(lock).hexdigest())'

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c "$supported" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11, 3.12 or 3.13 is needed, and none of ${PYTHON:-python3, python3.13, python3.12, python3.11} is one:" \
        "install one, or name it with PYTHON=/path/to/python." >&2
    exit 1
}

if ! "$venv/bin/python" -c "$supported" 2>/dev/null; then
    python=$(find_python)
    rm -rf "$venv"
    echo "Making $venv with $("$python" --version) ..." >&2
    if ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        echo "The virtual environment could not be made: on Debian and Ubuntu, install python3-venv." >&2
        exit 1
    fi
fi

# The dev set holds everything that the local one does.
if [ -f "$stamp" ]; then
    case $("$venv/bin/python" -c "$describe" "$set_name" dev) in
        *"$(cat "$stamp")"*) exit 0 ;;
    esac
fi
echo "Installing requirements-$set_name.lock into $venv ..." >&2
rm -f "$stamp"
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    -r "requirements-$set_name.lock"; then
    echo "The requirements could not be installed: check the network connection and try again." >&2
    exit 1
fi
"$venv/bin/python" -c "$describe" "$set_name" >"$stamp"
