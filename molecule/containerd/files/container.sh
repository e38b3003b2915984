#!/bin/sh
# Makes an image, and containers of it that do not run, of Docker and for kubelet. Of the programs of every system
# ldconfig needs no library.
set -eu
work=$(mktemp -d)
tar -C / -cf "$work/root.tar" usr/sbin/ldconfig
docker import --change 'CMD ["/usr/sbin/ldconfig", "--version"]' "$work/root.tar" localhost/tool:1
docker image save --output "$work/image.tar" localhost/tool:1
ctr --namespace k8s.io images import "$work/image.tar"
ctr --namespace k8s.io containers create localhost/tool:1 stopped
docker create --name stopped localhost/tool:1
ctr version >/root/before
rm -r "$work"
