#!/bin/sh
# What the documentation calls "not measured" on a GPU, measured in ten minutes on a box without a network.
#
#     benchmarks/on_gpu.sh prepare KIT            on any machine with seas-export[export], hours before
#     benchmarks/on_gpu.sh measure KIT [WHEELS]   on the box; WHEELS: a folder that pip installs from
#
# `prepare` makes the bundles of Stable Diffusion 1.4's size with random weights, and copies a bundle of the
# sample product where BOTTLE names one. `measure` makes an environment of its own in KIT, if there are wheels
# (`seas-export wheelhouse` gathers them), and writes KIT/on_gpu.json. What cannot be done is skipped, and the file
# says in words why. SECONDS_AT_MOST (600) is what all of it may take.
set -eu

usage() {
    echo "usage: $0 prepare KIT | measure KIT [WHEELS]" >&2
    exit 2
}

[ $# -ge 2 ] || usage
here=$(cd "$(dirname "$0")" && pwd)
what=$1 kit=$2 wheels=${3:-}
python=${PYTHON:-python3}

case $what in
prepare)
    exec "$python" "$here/on_gpu.py" prepare "$kit" ${BOTTLE:+--bottle "$BOTTLE"}
    ;;
measure)
    began=$(date +%s)
    [ -d "$kit" ] || { echo "$kit: expected the folder that prepare made, found none" >&2; exit 2; }
    if [ -n "$wheels" ]; then
        [ -d "$wheels" ] || { echo "$wheels: expected a folder of wheels, found none" >&2; exit 2; }
        "$python" -m venv "$kit/environment"
        python=$kit/environment/bin/python
        "$python" -m pip install --quiet --no-index --find-links "$wheels" "seas-export[${EXTRAS:-gpu}]"
    fi
    spent=$(($(date +%s) - began))
    exec "$python" "$here/on_gpu.py" measure "$kit" --seconds $((${SECONDS_AT_MOST:-600} - spent))
    ;;
*)
    usage
    ;;
esac
