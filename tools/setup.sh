# shellcheck shell=sh
# Shared by run-site and run-tests, which set root to the checkout.

: "${root:?}"
export LC_ALL=C.UTF-8 # Ansible refuses other encodings
python=${PYTHON:-python3}

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Prints which of the named Debian packages are not installed.
missing() {
    for package; do
        state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || true
        [ "$state" = installed ] || echo "$package"
    done
}

# Prints the package that "$python -m venv" still needs, if any.
missing_for_venv() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "$python is $("$python" --version 2>&1), Ansible needs 3.10 or later: set PYTHON to a newer one"
    "$python" -c 'import ensurepip' 2>/dev/null || echo python3-venv
}

say_packages() {
    [ $# -eq 0 ] || echo "Installs these Debian packages: $*."
}

# Installs the named Debian packages; with no names it does nothing.
install_packages() {
    [ $# -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "run as root, or install first: $*"
    command -v apt-get >/dev/null || die "no apt-get here, install first: $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends "$@" </dev/null
}

# ansible.cfg looks for collections in .cache/collections; there this checkout is provider.fleet.
link_collection() {
    mkdir -p "$root/.cache/collections/ansible_collections/provider"
    ln -sfn ../../../.. "$root/.cache/collections/ansible_collections/provider/fleet"
}
