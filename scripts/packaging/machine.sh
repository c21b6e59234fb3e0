# Sourced by scripts/install, after tools.sh and stage.sh: an installation for the whole machine that no package owns,
# and its end. It uses the maintainer scripts of the package, so that both keep the same promises.

COMMAND=/usr/bin/sdv-node
LISTED=installed-files
SETTINGS=/etc/sdv-node

# Installs into $prefix with the libraries of $models, or upgrades what is there.
install_system() {
    local python="" candidate new root old="" file
    is_root
    for candidate in /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3; do
        # Not one of a person's own: the services' users could not read it.
        if is_supported_python "$candidate"; then
            python=$(realpath "$candidate")
            break
        fi
    done
    [ -n "$python" ] || fail "the system's Python must be 3.11 or 3.12, with python3-venv. Debian 12 and Ubuntu 24.04 have it; see docs/install.md"
    ! dpkg-query --status sdv-node >/dev/null 2>&1 || fail "sdv-node is installed as a package: apt-get upgrade or remove that"
    if [ -e "$COMMAND" ]; then
        old=$(installed_prefix)
        [ "$old" = "$prefix" ] || fail "sdv-node is installed in $old: name that with --prefix, or --uninstall it first"
    elif [ -e "$prefix" ]; then
        fail "$prefix is there and is no installation of sdv-node: choose another --prefix"
    fi
    [ -n "$models" ] || { has_nvidia_driver && models=cuda || models=cpu; }

    new=$prefix.new root=$prefix.new/.root
    rm -rf "$new"
    mkdir -p "${prefix%/*}"
    umask 022
    prepare_uv "$python"
    say "installing the locked packages ($models) for $prefix"
    make_environment "$new" "$prefix" "$models"
    compile_environment "$new" "$prefix"
    stage_files "$root" "$new" usr/local/share usr/local/lib etc/systemd/system
    (cd "$root" && find . -type f | sed 's/^\.//' | LC_ALL=C sort) >"$new/$LISTED"

    [ -z "$old" ] || { say "stopping what runs of it" && sh scripts/packaging/debian/prerm upgrade; }
    [ -z "$old" ] || remove_listed "$old"
    rm -rf "$prefix"
    cp -a "$root/." /
    rm -rf "$root"
    mv "$new" "$prefix"
    ln -sfn "$prefix/bin/sdv-node" "$COMMAND"
    install -d -m 755 "$SETTINGS"
    [ -e "$SETTINGS/config.toml" ] || install -m 640 scripts/packaging/config.toml "$SETTINGS/config.toml"
    [ -e "$SETTINGS/worker.toml" ] || install -m 644 scripts/packaging/worker.toml "$SETTINGS/worker.toml"
    sh scripts/packaging/debian/postinst configure "$old"
    say "installed in $prefix: $("$COMMAND" --version)"
}

# Removes what install_system installed; with $purge also what can be had again.
install_uninstall() {
    local old
    is_root
    ! dpkg-query --status sdv-node >/dev/null 2>&1 || fail "sdv-node is installed as a package: apt-get remove sdv-node"
    if [ -e "$COMMAND" ]; then
        old=$(installed_prefix)
        sh scripts/packaging/debian/prerm remove
        remove_listed "$old"
        rm -rf "$old"
        rm -f "$COMMAND"
        say "removed $old"
    elif [ -z "$purge" ]; then
        fail "no installation was found: $COMMAND does not exist"
    fi
    if [ -n "$purge" ]; then sh scripts/packaging/debian/postrm purge; else sh scripts/packaging/debian/postrm remove; fi
}

is_root() { [ "$(id -u)" = 0 ] || fail "this is for the whole machine: run it as root (sudo)"; }

installed_prefix() {
    local command found
    command=$(readlink "$COMMAND") || fail "$COMMAND is not from scripts/install: move it away"
    found=${command%/bin/sdv-node}
    [ -f "$found/$LISTED" ] || fail "$COMMAND leads to $found, which scripts/install did not make: move it away"
    printf '%s\n' "$found"
}

remove_listed() {
    xargs -r -d '\n' rm -f -- <"$1/$LISTED"
    # The only folder that is ours alone.
    rm -rf /usr/local/share/doc/sdv-node
}
