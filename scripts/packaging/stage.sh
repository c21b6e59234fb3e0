# Sourced by scripts/install and scripts/package, after tools.sh: what an installation for a whole machine consists of.

# make_environment DIR PREFIX none|cpu|cuda
# Makes the virtual environment at DIR that is to run at PREFIX. Only the command of the node is in its bin.
make_environment() {
    local env=$1 prefix=$2 models=$3 version wheels
    "$uv" venv --quiet --clear "$env"
    install_locked "$env/bin/python" "$models"
    wheels=$(mktemp -d)
    "$uv" build --quiet --wheel --out-dir "$wheels"
    version=$(project_version)
    # By its name, so that no path of the machine that builds is recorded.
    "$uv" pip install --quiet --python "$env/bin/python" --no-deps --no-index --find-links "$wheels" "sdv-node==$version"
    rm -rf "$wheels"
    # Every script names the place where it was made in its first line.
    find "$env/bin" -mindepth 1 ! -name 'python*' -delete
    find "$env/lib" -name __pycache__ -type d -prune -exec rm -rf {} +
    # When something was installed is no part of it.
    find "$env" \( -name uv_cache.json -o -name .lock -o -name CACHEDIR.TAG -o -name .gitignore \) -delete
    # Nor is what the removed scripts were like, whose first lines differed with the place.
    find "$env/lib" -path '*.dist-info/RECORD' -exec sed -i '/uv_cache\.json,/d; /^\.\.\/.*\/bin\//d' {} +
    cat >"$env/bin/sdv-node" <<LAUNCHER
#!$prefix/bin/python -I
import sys

from node.cli.main import main

sys.argv[0] = "sdv-node"
main()
LAUNCHER
    chmod 755 "$env/bin/sdv-node"
    chmod -R go=rX,u+rwX "$env"
}

# compile_environment DIR PREFIX: compiles to bytecode as it will be at PREFIX, in a fixed order.
compile_environment() {
    PYTHONHASHSEED=0 "$1/bin/python" -I -m compileall -q -j 1 --invalidation-mode timestamp \
        -s "$1" -p "$2" "$1/lib" || fail "compiling to bytecode failed"
}

project_version() { sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml | head -n 1; }

# stage_files ROOT ENV SHARE LIB UNITS
# Puts everything but the environment under ROOT: what belongs under share, under lib, and the units.
stage_files() {
    local root=$1 env=$2 share=$1/$3 lib=$1/$4 units=$1/$5 page
    local node=("$env/bin/python" -I "$env/bin/sdv-node")
    install -D -m 644 -t "$units" systemd/sdv-node.service systemd/sdv-node-worker@.service
    install -D -m 644 systemd/sdv-node.sysusers.conf "$lib/sysusers.d/sdv-node.conf"
    install -D -m 644 systemd/sdv-node.tmpfiles.conf "$lib/tmpfiles.d/sdv-node.conf"
    install -D -m 644 -t "$share/doc/sdv-node" README.md LICENSE docs/install.md
    install -D -m 644 systemd/README.md "$share/doc/sdv-node/systemd.md"
    install -D -m 644 -t "$share/doc/sdv-node/examples" config/default.toml scripts/packaging/config.toml scripts/packaging/worker.toml
    install -D -m 644 -t "$share/doc/sdv-node/examples/sdv-node.service.d" systemd/drop-ins/*.conf
    install -d "$share/bash-completion/completions" "$share/zsh/vendor-completions" \
        "$share/fish/vendor_completions.d" "$share/man/man1"
    "${node[@]}" completion bash >"$share/bash-completion/completions/sdv-node" &&
        "${node[@]}" completion zsh >"$share/zsh/vendor-completions/_sdv-node" &&
        "${node[@]}" completion fish >"$share/fish/vendor_completions.d/sdv-node.fish" ||
        fail "this sdv-node has no command that prints its completion"
    "${node[@]}" man --dir "$share/man/man1" >/dev/null || fail "this sdv-node has no command that writes its man pages"
    for page in "$share"/man/man1/*.1; do
        [ -s "$page" ] || fail "sdv-node man wrote no page"
        gzip -9n "$page"
    done
}
