# SPDX-License-Identifier: MIT
#
# Debian packages of any suite into a folder, beside the machine's own apt. For scripts that have
# set `work` (a scratch folder) and the functions say and die. Nothing is installed, no package's
# script is run, no root is needed.

# The mirror and the keyring this machine installs its own release from: "URI KEYRING".
own_mirror() {
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(SIGNED_BY)' \
        'Created-By: Packages' 2>/dev/null |
        awk -v c="$codename" '$2 == c && $3 == "main" { print $1, $4; exit }'
}

# Sets mirror and keyring.
find_mirror() {
    # shellcheck disable=SC2046
    set -- $(own_mirror)
    mirror=${VMSTREAM_PEER_MIRROR:-${1:-}}
    mirror=${mirror%/}
    keyring=${2:-}
    # An entry without Signed-By prints the field's name.
    case $keyring in /*) ;; *) keyring= ;; esac
    if [ -z "$keyring" ] && [ -r /usr/share/keyrings/debian-archive-keyring.gpg ]; then
        keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    fi
    [ -n "$mirror" ] || die "no Debian mirror in apt's configuration; set VMSTREAM_PEER_MIRROR"
}

# apt with a state of its own under $work/apt. The machine's apt.conf still counts (proxies).
private_apt() {
    tool=$1
    shift
    "$tool" -q \
        -o Dir::State="$work/apt/state" -o Dir::State::status="$work/apt/status" \
        -o Dir::Cache="$work/apt/cache" -o Dir::Etc::sourcelist="$work/apt/sources.list" \
        -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferences=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User= \
        -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false \
        -o Acquire::Languages=none -o Acquire::Retries=3 -o Debug::NoLocking=1 \
        -o APT::Architecture=amd64 -o APT::Architectures::=amd64 \
        -o APT::Update::Post-Invoke= -o APT::Update::Post-Invoke-Success= \
        -o APT::Install-Recommends=false -o APT::Install-Suggests=false "$@"
}

write_sources() {
    signed=${keyring:+[signed-by=$keyring]}
    base=${1%-backports}
    {
        printf 'deb %s %s %s main\n' "$signed" "$mirror" "$base"
        [ "$base" = "$1" ] || printf 'deb %s %s %s main\n' "$signed" "$mirror" "$1"
    } >"$work/apt/sources.list"
}

# From now on private_apt means this suite, on a machine with nothing installed: what it resolves
# is a complete closure, the C library included. Fails when the mirror does not have it.
use_suite() {
    rm -rf "$work/apt"
    mkdir -p "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial"
    : >"$work/apt/status"
    write_sources "$1"
    private_apt apt-get update >"$work/log" 2>&1 && return
    say "$1: $(tail -n 1 "$work/log")"
    return 1
}

# Unpacks every package of folder $1 into $2.
unpack_all() {
    mkdir -p "$2/usr/bin" "$2/usr/sbin" "$2/usr/lib" "$2/usr/lib64"
    # Merged /usr, so that packages with either layout meet and a chroot finds its loader.
    for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$2/$dir"; done
    for deb in "$1"/*.deb; do
        # Through tar with --keep-directory-symlink: dpkg-deb -x would replace those links.
        dpkg-deb --fsys-tarfile "$deb" |
            tar -x -C "$2" --keep-directory-symlink --no-same-owner \
                --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
                --exclude='./usr/share/locale/*' --exclude='./usr/share/info/*'
    done
}
