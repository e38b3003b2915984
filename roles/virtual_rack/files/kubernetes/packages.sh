#!/bin/sh
# In the builder: kubeadm, kubelet, kubectl and kubernetes-cni as packages in a signed apt repository,
# laid out as https://pkgs.k8s.io/core:/stable:/v1.20/deb/ would be.
# usage: packages.sh PATH VERSION...
# ARCHITECTURE: that of the packages, if it is another one than this machine's. A repository at that path in /base is
# gone on with.
set -eu
umask 022

if [ -e /build/result/repo ]; then
    exit 0
fi

repository=/build/repo/$1
shift
architecture=${ARCHITECTURE:-$(dpkg --print-architecture)}
rm -rf /build/packages /build/repo
mkdir -p "$repository"
if [ -e "/base/${repository#/build/}" ]; then
    cp "/base/${repository#/build/}"/*.deb "$repository"
fi

# package NAME VERSION DEPENDS SUMMARY: makes a package of /build/packages/NAME_VERSION
package() {
    root=/build/packages/$1_$2
    mkdir -p "$root/DEBIAN"
    cat >"$root/DEBIAN/control" <<EOF
Package: $1
Version: $2-1.1
Architecture: $architecture
Maintainer: bramble.pi contributors <bramble-pi@localhost>
Section: admin
Priority: optional
Homepage: https://kubernetes.io
${3:+Depends: $3
}Description: $4
 $description
EOF
    # Level 1: the packages only travel between containers of one machine.
    dpkg-deb --root-owner-group -Zgzip -z1 --build "$root" "$repository" >/dev/null
}

# program NAME VERSION: the folder of a package that holds this program
program() {
    root=/build/packages/$1_$2
    install -D --mode=0755 "/build/bin/$2/$1" "$root/usr/bin/$1"
}

# The dependencies are upstream's, without kubeadm's on cri-tools, which Debian bookworm lacks.
for version; do
    description="Built out of Debian's source package kubernetes $(cat /build/source-version)
 for a virtual rack. The programs are Kubernetes 1.20.2, whatever version they are labelled."
    program kubectl "$version"
    package kubectl "$version" '' 'Kubernetes command line tool'

    program kubelet "$version"
    install -D --mode=0644 /scripts/kubelet.service "$root/usr/lib/systemd/system/kubelet.service"
    for hook in postinst prerm postrm; do
        install -D --mode=0755 "/scripts/kubelet.$hook" "$root/DEBIAN/$hook"
    done
    package kubelet "$version" 'iptables (>= 1.4.21), kubernetes-cni (>= 0.8.7), iproute2, socat, util-linux, mount, ebtables, ethtool, conntrack' \
        'Kubernetes node agent'

    program kubeadm "$version"
    drop_in=/etc/systemd/system/kubelet.service.d/10-kubeadm.conf
    install -D --mode=0644 /scripts/10-kubeadm.conf "$root$drop_in"
    install -D --mode=0755 /scripts/kubeadm.postinst "$root/DEBIAN/postinst"
    echo "$drop_in" >"$root/DEBIAN/conffiles"
    package kubeadm "$version" 'kubelet (>= 1.13.0), kubectl (>= 1.13.0), kubernetes-cni (>= 0.8.7)' \
        'Kubernetes cluster bootstrapping tool'
done

# Debian keeps the plugins in another folder than the one that kubelet and containerd look in.
cni=$(dpkg-query --show --showformat '${source:Upstream-Version}' containernetworking-plugins)
cni=${cni%%+*}
mkdir -p "/build/packages/kubernetes-cni_$cni/opt/cni/bin"
ln -s /usr/lib/cni/* "/build/packages/kubernetes-cni_$cni/opt/cni/bin/"
description="Links to the plugins of Debian's package containernetworking-plugins."
package kubernetes-cni "$cni" containernetworking-plugins 'Kubernetes CNI plugins'

# A key of this cache's own, made once; no passphrase, because builds run unattended.
export GNUPGHOME=/cache/gnupg
mkdir -p "$GNUPGHOME"
chmod 0700 "$GNUPGHOME"
user='bramble.pi virtual rack'
if ! gpg --batch --quiet --list-secret-keys "$user" >/dev/null 2>&1; then
    gpg --batch --quiet --passphrase '' --quick-generate-key "$user" rsa3072 sign never
fi

cd "$repository"
apt-ftparchive packages . >Packages
gzip --keep --best Packages
apt-ftparchive -o APT::FTPArchive::Release::Origin=bramble.pi \
    -o APT::FTPArchive::Release::Label='Kubernetes of a virtual rack' \
    -o "APT::FTPArchive::Release::Architectures=$(sed -n 's/^Architecture: //p' Packages | sort -u | paste -s -d ' ')" release . >/build/Release
mv /build/Release Release
gpg --batch --quiet --digest-algo SHA512 --clear-sign --output InRelease Release
gpg --batch --quiet --digest-algo SHA512 --armor --detach-sign --output Release.gpg Release
gpg --batch --armor --export "$user" >Release.key
gpgconf --kill all
mv /build/repo /build/result/repo
