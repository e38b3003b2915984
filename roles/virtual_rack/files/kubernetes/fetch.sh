#!/bin/sh
# In the builder, with a network: Debian's source of Kubernetes, ready to be built.
# usage: fetch.sh VERSION
set -eu

version=$1
tree=$GOPATH/src/k8s.io/kubernetes
if [ -e "$tree" ]; then
    exit 0
fi

rm -rf /build/source
mkdir -p /build/source "$(dirname "$tree")"
cd /build/source
apt-get update --quiet=2
# The archives are for root alone, who runs this, so apt need not try to fetch them as another user.
apt-get source --quiet=2 -o APT::Sandbox::User=root --download-only kubernetes golang-github-modern-go-reflect2
found=$(sed -n 's/^Version: //p' kubernetes_*.dsc)
case $found in
    "$version"-* | *"+really$version"-*) ;;
    *)
        echo "Debian bookworm's source package kubernetes is $found, but this build is made for $version." \
            "Set rack_kubernetes to upstream." >&2
        exit 1
        ;;
esac
echo "$found" >/build/source-version
# apt has checked both against the archive's signature.
dpkg-source --no-check -x kubernetes_*.dsc kubernetes
dpkg-source --no-check -x golang-github-modern-go-reflect2_*.dsc reflect2

# The reflect2 that Kubernetes carries (1.0.1) panics in programs built by Go 1.18 or later.
carried=kubernetes/vendor/github.com/modern-go/reflect2
rm "$carried"/*.go "$carried"/*.s
cp reflect2/*.go reflect2/*.s "$carried"

mv kubernetes "$tree"
