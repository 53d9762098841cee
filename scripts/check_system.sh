#!/bin/sh
# Check that the machine has what no Python package brings; install it where that is possible.
# Usage: check_system.sh PYTHON
python=${1:-python3}

check_version() {
    # OMPL has no wheels for newer ones.
    "$python" -c 'import sys; raise SystemExit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' &&
        return
    echo "$python is $("$python" -V 2>&1); don_kp needs Python 3.10 to 3.13." >&2
    echo "Name another one:  make PYTHON=python3.13" >&2
    exit 1
}

missing_packages() {
    if ! command -v "$python" >/dev/null; then
        echo python3 python3-venv python3-dev
    else
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "python$version-venv"
        "$python" -c 'import os, sysconfig as s
raise SystemExit(not os.path.exists(os.path.join(s.get_path("include"), "Python.h")))' ||
            echo "python$version-dev"
    fi
    { command -v g++ && command -v make; } >/dev/null || echo build-essential
    libraries=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)
    case $libraries in *libEGL.so.1*) ;; *) echo libegl1 ;; esac
    case $libraries in *libGL.so.1*) ;; *) echo libgl1 ;; esac
    { ls /usr/lib/*/dri/*_dri.so || ls /usr/lib64/dri/*_dri.so; } >/dev/null 2>&1 ||
        echo libgl1-mesa-dri
}

if command -v "$python" >/dev/null; then
    check_version  # before anything is installed for it
fi
packages=$(missing_packages | tr '\n' ' ')
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing system packages: $packages"
    # shellcheck disable=SC2086
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends $packages >/dev/null
    packages=$(missing_packages | tr '\n' ' ')
fi
if [ -n "$packages" ]; then
    echo "Missing on this machine: $packages" >&2
    echo "Install with:  sudo apt-get install $packages" >&2
    exit 1
fi
check_version
