#!/bin/sh
# Writes down what a role could leave: packages, files, links and users. usage: inventory.sh FILE
{
  dpkg-query -W -f '${Package} ${db:Status-Status}\n'
  find /etc /usr/local /var/lib /var/log /var/spool /run/systemd/system /opt -xdev \
    \( -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/log -o -name __pycache__ \) -prune -o -print
  ls -d /run/bramble* /var/log/prometheus 2>/dev/null
  cut -d: -f1 /etc/passwd /etc/group
} | LC_ALL=C sort >"$1"
