#!/bin/sh
# In the builder: writes the API description that is compiled into kube-apiserver. Upstream's own
# build generates it too (`make generated_files`), so it is not in the source.
set -eu

cd "$GOPATH/src/k8s.io/kubernetes"
generated=pkg/generated/openapi
if [ -s "$generated/zz_generated.openapi.go" ]; then
    exit 0
fi

go build -o /build/openapi-gen ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
# Each package that asks for it; those in staging are known by the vendored name.
packages=$(grep --recursive --files-with-matches --include='*.go' '+k8s:openapi-gen=' cmd pkg plugin staging/src |
    grep --invert-match --extended-regexp '/zz_generated|_test\.go$|/testdata/|/code-generator/|/sample-apiserver/' |
    xargs --max-args=1 dirname | sort --unique |
    sed -e 's,^staging/src/,vendor/,' -e 's,^,k8s.io/kubernetes/,' | paste --serial --delimiters=,)
# Written elsewhere and moved, so that an interrupted run leaves no half of it.
/build/openapi-gen --logtostderr --input-dirs "$packages" \
    --output-package "k8s.io/kubernetes/$generated" --output-file-base zz_generated.openapi \
    --go-header-file hack/boilerplate/boilerplate.generatego.txt \
    --report-filename /build/openapi-violations --output-base /build/generated
mv "/build/generated/k8s.io/kubernetes/$generated/zz_generated.openapi.go" "$generated/"
