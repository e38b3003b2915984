#!/bin/sh
# In the builder: builds one program of Kubernetes, for the architecture that GOARCH names.
# usage: build.sh PROGRAM VERSION
set -eu

program=$1 version=$2
target=/build/bin/$version/$program
if [ -e "$target" ]; then
    exit 0
fi

mkdir -p "/build/bin/$version"
cd "$GOPATH/src/k8s.io/kubernetes"
if [ "$program" = pause ]; then
    go build -ldflags '-s -w' -o "$target.part" /scripts/pause.go
else
    minor=${version#*.}
    minor=${minor%.*}
    flags='-s -w'
    # Both names, because a package under vendor is another one than the same package in staging.
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        for path in "$package" "k8s.io/kubernetes/vendor/$package"; do
            flags="$flags -X $path.gitVersion=v$version -X $path.gitMajor=${version%%.*}"
            # "archive" is what Kubernetes calls a tree that came without its git history.
            flags="$flags -X $path.gitMinor=$minor -X $path.gitTreeState=archive"
        done
    done
    go build -ldflags "$flags" -o "$target.part" "k8s.io/kubernetes/cmd/$program"
fi
mv "$target.part" "$target"
