#!/bin/sh
# Makes the container image in which Kubernetes is built, so that every machine builds with
# bookworm's Go, whatever it runs itself.
# usage: builder.sh IMAGE MIRROR [APT_OPTION...]
set -eu

image=$1 mirror=$2
shift 2
if podman image exists "$image"; then
    exit 0
fi
# mmdebstrap takes each line of apt.conf as an option of its own.
for line; do
    set -- "$@" "--aptopt=$line"
    shift
done

packages=golang-1.19-go,dpkg-dev,apt-utils,gnupg,python3-minimal,libpython3-stdlib
# What goes into the images and into kubernetes-cni.
packages=$packages,etcd-server,etcd-client,iptables,conntrack,kmod,busybox-static,containernetworking-plugins

# An unfinished archive must not become an image, so it is not piped into podman.
root=$(mktemp --tmpdir bramble-builder.XXXXXX.tar)
trap 'rm -f "$root"' EXIT
signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
mmdebstrap --variant=apt --include="$packages" "$@" bookworm "$root" \
    "deb $signed $mirror bookworm main" "deb-src $signed $mirror bookworm main"

# GOPATH mode, because -mod=vendor refuses this tree: Debian has changed its vendor folder.
podman import --quiet \
    --change 'ENV PATH=/usr/lib/go-1.19/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV GOPATH=/build/gopath' \
    --change 'ENV GO111MODULE=off' \
    --change 'ENV GOPROXY=off' \
    --change 'ENV GOCACHE=/cache/go' \
    --change 'ENV GOFLAGS=-trimpath' \
    --change 'ENV CGO_ENABLED=0' \
    "$root" "$image"
