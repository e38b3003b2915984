#!/bin/sh
# Makes what stands in for https://download.docker.com and for a release of containerd, of packages of Debian sid and of
# this release. These are stand-ins: names, layout and signatures are as there, the programs are Debian's.
# usage: stand_ins.sh FOLDER
set -eu
to=$1
sid=/srv/sid
architecture=$(dpkg --print-architecture)
export DEBIAN_FRONTEND=noninteractive

mkdir -p "$sid/lists/partial" "$to"
cd "$sid"
# shellcheck disable=SC2016 # apt's own words
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sid.list
of_sid="-o Dir::Etc::sourcelist=$sid/sid.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$sid/lists"
# shellcheck disable=SC2086
apt-get -qq $of_sid update
# shellcheck disable=SC2086
apt-get -qq $of_sid download containerd runc
apt-get -qq install --yes --no-install-recommends gpg gpg-agent >/dev/null

# The release: programs below bin/, and a runc that is one file. A virtual rack starts containers by its own.
mkdir -p release/bin
dpkg-deb --extract containerd_*.deb unpacked
cp unpacked/usr/bin/containerd unpacked/usr/bin/ctr unpacked/usr/bin/containerd-shim-runc-v2 release/bin/
tar -C release --use-compress-program="gzip -1" -cf "$to/containerd.tar.gz" bin
dpkg-deb --extract runc_*.deb unpacked
if [ -L /usr/local/sbin/runc ]; then
  printf '#!/bin/sh\nexec /usr/local/lib/rack-node/runc "$@"\n' >"$to/runc"
else
  find unpacked -type f -name runc -exec cp {} "$to/runc" \;
fi
printf '{"containerd": "%s", "runc": "%s"}\n' "$(sha256sum <"$to/containerd.tar.gz" | cut -c 1-64)" \
  "$(sha256sum <"$to/runc" | cut -c 1-64)" >"$to/checksums.json"

# Docker's packages: containerd.io has runc in it, and a configuration with the CRI plugin off.
pool=linux/debian/dists/trixie/pool
mkdir -p "$to/$pool"
repack() { # PACKAGE NAME VERSION DEPENDS REPLACED [FOLDER_OF_MORE_FILES]
  rm -rf tree
  dpkg-deb --raw-extract "$1" tree
  sed -i -e "s/^Package: .*/Package: $2/" -e "s/^Version: .*/Version: $3/" \
    -e '/^\(Depends\|Recommends\|Suggests\|Breaks\|Replaces\|Conflicts\|Provides\|Built-Using\|Static-Built-Using\):/,/^[^ ]/{
      /^\(Depends\|Recommends\|Suggests\|Breaks\|Replaces\|Conflicts\|Provides\|Built-Using\|Static-Built-Using\):/d
      /^ /d
    }' tree/DEBIAN/control
  [ -z "$4" ] || echo "Depends: $4" >>tree/DEBIAN/control
  printf 'Conflicts: %s\nReplaces: %s\n' "$5" "$5" >>tree/DEBIAN/control
  if [ -n "${6-}" ]; then
    cp -a "$6/." tree/
    mkdir -p tree/etc/containerd
    echo 'disabled_plugins = ["cri"]' >tree/etc/containerd/config.toml
    echo /etc/containerd/config.toml >>tree/DEBIAN/conffiles
    sort -u -o tree/DEBIAN/conffiles tree/DEBIAN/conffiles
  fi
  rm -f tree/DEBIAN/md5sums
  dpkg-deb -Znone --root-owner-group --build tree "$to/$pool/$2_$architecture.deb" >/dev/null
}
apt-get -qq download docker.io docker-cli
mkdir -p runc-only
dpkg-deb --extract runc_*.deb runc-only
containerd_version=$(dpkg-deb --field containerd_*.deb Version | sed 's/[^0-9.].*//')
repack "$(echo containerd_*.deb)" containerd.io "$containerd_version-1~debian.13~trixie" libc6 'containerd, runc' runc-only
repack "$(echo docker-cli_*.deb)" docker-ce-cli 5:29.0.0-1~debian.13~trixie libc6 docker-cli
repack "$(echo docker.io_*.deb)" docker-ce 5:29.0.0-1~debian.13~trixie \
  'containerd.io, docker-ce-cli, iptables' 'docker.io'

cd "$to/linux/debian"
mkdir -p "dists/trixie/stable/binary-$architecture"
for package in dists/trixie/pool/*.deb; do
  dpkg-deb --field "$package"
  printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "$package" "$(stat -c %s "$package")" "$(sha256sum <"$package" | cut -c 1-64)"
done >"dists/trixie/stable/binary-$architecture/Packages"
packages=stable/binary-$architecture/Packages
cd dists/trixie
printf 'Origin: Docker\nLabel: Docker CE (stand-in)\nSuite: trixie\nCodename: trixie\nComponents: stable\nArchitectures: %s\nDate: %s\nSHA256:\n %s %s %s\n' \
  "$architecture" "$(date --utc --rfc-email)" "$(sha256sum <"$packages" | cut -c 1-64)" "$(stat -c %s "$packages")" "$packages" >Release
GNUPGHOME=$(mktemp -d)
export GNUPGHOME
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key stand-in rsa3072 sign never
gpg --batch --quiet --clearsign --output InRelease Release
gpg --batch --quiet --armor --export >"$to/linux/debian/gpg"
