# Everything that `just` needs.
{ target, tools, h2oLibraries }:
tools.mkShell {
  packages =
    (with tools; [
      actionlint clang-tools ghz git grpcurl just kubeconform kubectl kustomize nixfmt python3 ruff shellcheck skaffold
      skopeo vegeta yamlfmt
    ])
    ++ (if tools.stdenv.hostPlatform.isLinux then
      with target; [ criterion etcd_3_6 grpc jansson lmdb meson ninja openssl pkg-config prometheus protobufc zlib h2oLibraries ]
    else
      [ ]);
}
