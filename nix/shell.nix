# Everything that `just` needs, or, on macOS, what it needs there: the services run on Linux.
{
  target,
  tools,
  h2oLibraries,
  more, # on Linux
}:
let
  python = tools.python3.withPackages (import ./python-packages.nix);
in
tools.mkShell {
  packages = [
    python
  ]
  ++ (with tools; [
    actionlint
    age
    clang-tools
    cosign
    deadnix
    gcovr
    ghz
    git
    go
    grpcurl
    grype
    just
    kube-score
    kubeconform
    kubectl
    kustomize
    nixfmt
    nodejs
    rclone
    ruff
    shellcheck
    skaffold
    skopeo
    spin
    statix
    vegeta
    yamlfmt
  ])
  ++ (
    if tools.stdenv.hostPlatform.isLinux then
      [
        h2oLibraries
        target.prometheus.cli
      ]
      ++ (with target; [
        clang
        criterion
        etcd_3_6
        grpc
        jansson
        lmdb
        meson
        ninja
        nghttp2
        openssl
        pkg-config
        protobuf
        protobufc
        runc
        wrk
        zlib
      ])
      ++ more
    else
      [ ]
  );
}
