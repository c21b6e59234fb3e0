# Sourced by scripts/install, scripts/package and stage.sh in the root of the checkout: messages, uv, and the
# locked packages in an environment.

UV_VERSION=0.13.9

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
fail() { printf '%s: %s\n' "${0#"$PWD"/}" "$*" >&2; exit 1; }

# Whether a Python is one that the project runs on.
is_supported_python() {
    command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null
}

# Puts the pinned uv into .tools and names it in $uv; takes the Python to make .tools with.
prepare_uv() {
    if [ ! -x .tools/bin/uv ] || [ "$(.tools/bin/uv --version | cut -d' ' -f2)" != "$UV_VERSION" ]; then
        say "installing uv $UV_VERSION into .tools"
        "$1" -m venv .tools || fail "python3 -m venv failed. Debian and Ubuntu: apt-get install python3-venv"
        .tools/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
    fi
    uv=.tools/bin/uv
    export UV_PYTHON="$1" UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=${UV_LINK_MODE:-copy}
}

# install_locked PYTHON none|cpu|cuda [OPTION OF uv export]...
# Installs the locked packages, without the node itself: none for a node whose workers are elsewhere; cpu and cuda
# say which build of torch comes with the libraries of the models.
install_locked() {
    local target=$1 models=$2 requirements constraints torch
    shift 2
    local export=("$uv" export --quiet --frozen --no-emit-project --format requirements-txt)
    local pip=("$uv" pip install --quiet --python "$target")
    requirements=$(mktemp)
    case $models in
    none) "${export[@]}" "$@" >"$requirements" ;;
    cuda) "${export[@]}" --extra gpu "$@" >"$requirements" ;;
    cpu) "${export[@]}" --extra gpu --prune torch "$@" >"$requirements" ;;
    esac
    "${pip[@]}" --no-deps --require-hashes -r "$requirements"
    if [ "$models" = cpu ]; then
        constraints=$(mktemp)
        "${export[@]}" --extra gpu --no-hashes >"$requirements"
        grep -v '^torch==' "$requirements" >"$constraints"
        torch=$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' "$requirements" | head -n 1)
        say "installing $torch, CPU build"
        if [ -n "${PIP_FIND_LINKS:-}" ]; then
            "${pip[@]}" --find-links "$PIP_FIND_LINKS" --constraint "$constraints" "$torch"
        else
            "${pip[@]}" --torch-backend=cpu --constraint "$constraints" "$torch"
        fi
        rm -f "$constraints"
    fi
    rm -f "$requirements"
}

has_nvidia_driver() {
    [ -e /proc/driver/nvidia/version ] || { command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; }
}
