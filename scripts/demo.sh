#!/bin/sh
# The demonstration: a rack of containers, a real cluster on it, and the proof that it works.
#
# usage: scripts/demo.sh up|down      INVENTORY names the rack (default inventories/virtual)
set -eu
cd "$(dirname "$0")/.."
inventory=${INVENTORY:-inventories/virtual}
total=4
began=$(date +%s)
number=0
# What the user has to type for the same rack.
make="make"
[ "$inventory" = inventories/virtual ] || make="make INVENTORY=$inventory"

# Run one step: its name, then the command. Says when it begins and how long it took.
step() {
    number=$((number + 1))
    step_began=$(date +%s)
    printf '\n\033[1m[%s/%s] %s\033[0m\n' "$number" "$total" "$1"
    shift
    if ! "$@"; then
        printf '\nThat step failed; the reason stands above. When it is fixed, "%s" goes on where this stopped.\n' "$make demo" >&2
        exit 1
    fi
    printf '      %s s\n' $(($(date +%s) - step_began))
}

# Print the value of a variable of the first control plane.
value() {
    .venv/bin/ansible -i "$inventory" 'control_plane[0]' -m ansible.builtin.debug -a "var=$1" |
        sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p"
}

playbook() { .venv/bin/ansible-playbook -i "$inventory" "$@"; }

if ! reason=$(scripts/rack-possible.sh); then
    printf 'make demo: %s\n' "$reason" >&2
    exit 1
fi

case "${1:-}" in
    up)
        step "Install the tools" scripts/setup.sh rack
        step "Create the rack: containers that stand for Pis" playbook playbooks/virtual_rack_create.yml
        step "Bring the cluster up with site.yml" playbook site.yml
        step "Verify it with a workload that answers" playbook playbooks/verify.yml
        # The first control plane, and what the inventory calls things.
        node=$(.venv/bin/ansible -i "$inventory" 'control_plane[0]' --list-hosts | sed -n '2s/ //gp')
        container=$(value virtual_rack_name)-$node
        cat <<TEXT

The cluster is up after $(($(date +%s) - began)) s:

$(podman exec "$container" kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes)

  kubeconfig   $(value control_plane_kubeconfig)
  look around  podman exec -it $container su - pi, then: kubectl get pods -A -o wide
  run again    $make demo    finds that all is there
  start over   .venv/bin/ansible-playbook -i $inventory playbooks/reset.yml, then $make demo
  remove all   $make demo-down
TEXT
        ;;
    down)
        total=2
        step "Install the tools" scripts/setup.sh rack
        step "Remove the rack" playbook playbooks/virtual_rack_destroy.yml
        cat <<TEXT

The rack is gone. What took long to make is kept for the next one, in ~/.cache/bramble and as podman images.
To remove that as well:

  .venv/bin/ansible-playbook -i $inventory playbooks/virtual_rack_destroy.yml -e virtual_rack_remove_cache=true
TEXT
        ;;
    *)
        printf 'usage: %s up|down\n' "$0" >&2
        exit 2
        ;;
esac
