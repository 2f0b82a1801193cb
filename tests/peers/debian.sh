# To be sourced: fetches packages of any suite of Debian, without installing one on this machine.
#
# The mirror is the one in this machine's own apt sources. $work/apt holds the lists, the archives, and a status file
# that says that nothing is installed.

mirror_here() {
    apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' | sed -n 's/ Debian$//p' | head -n 1
}

# Fetches the lists of a suite. From then on `apt` and `apt_cache` use that suite alone.
use_suite() {
    mirror=$(mirror_here)
    if [ -z "$mirror" ]; then
        apt-get update >&2
        mirror=$(mirror_here)
    fi
    : "${mirror:?there is no Debian mirror in this apt sources}"
    mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/apt/etc"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" >"$work/apt/etc/sources.list"
    : >"$work/apt/status"
    apt update
}

# Runs apt-get or apt-cache with all of its files in that directory.
privately() {
    program=$1
    shift
    "$program" -qq -o APT::Architecture="$(dpkg --print-architecture)" -o APT::Architectures= \
        -o Dir::Etc::sourcelist="$work/apt/etc/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" \
        -o Dir::Cache::archives="$work/apt/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o APT::Sandbox::User= -o APT::Install-Recommends=false -o Acquire::Languages=none "$@"
}
apt() { privately apt-get "$@" >&2; }
