# shellcheck shell=sh
# Shared by run-site and run-tests, which set root to the checkout.

: "${root:?}"
export LC_ALL=C.UTF-8 # Ansible refuses other encodings
python=${PYTHON:-python3}

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

check_python() {
    command -v "$python" >/dev/null || die "there is no $python here: install Python 3.10 or later, or set PYTHON to one"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "$python is $("$python" --version 2>&1), Ansible needs 3.10 or later: set PYTHON to a newer one"
}
