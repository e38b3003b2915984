#!/bin/sh
# Upgrades containerd as the owner of a node would.
set -eu
DEBIAN_FRONTEND=noninteractive apt-get --yes --no-install-recommends install /srv/sid/containerd_*.deb /srv/sid/runc_*.deb
