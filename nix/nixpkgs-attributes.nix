# All that the flake takes from nixpkgs, with the outputs it needs: flake.nix hands on these attributes and no others.
{
  lib = [
    "concatMapStringsSep"
    "filterAttrs"
    "genAttrs"
    "hasPrefix"
    "hasSuffix"
    "mapAttrs"
    "mapAttrsToList"
    "optional"
    "removePrefix"
    "removeSuffix"
    "splitString"
    "unique"
  ];

  # What goes into images and what makes them; Linux.
  target = {
    abseil-cpp = [ "out" ];
    age = [ "out" ];
    c-ares = [ "out" ];
    cacert = [ "out" ];
    clang = [ "out" ];
    cmake = [ "out" ];
    criterion = [
      "out"
      "dev"
    ];
    curl = [ "out" ];
    etcd_3_6 = [ "out" ];
    fetchFromGitHub = [ ];
    grpc = [ "out" ];
    h2o = [ ]; # its source and version: nix/h2o.nix
    jansson = [
      "out"
      "dev"
    ];
    lmdb = [
      "out"
      "dev"
    ];
    meson = [ "out" ];
    nghttp2 = [
      "out"
      "dev"
      "lib"
    ];
    ninja = [ "out" ];
    openssl = [
      "out"
      "dev"
    ];
    pkg-config = [ "out" ];
    prometheus = [
      "out"
      "cli"
    ];
    protobuf = [ "out" ];
    protobufc = [
      "out"
      "dev"
      "lib"
    ];
    python3 = [ "out" ];
    rclone = [ "out" ];
    re2 = [ "out" ];
    runCommand = [ ];
    runCommandCC = [ ];
    runc = [ "out" ];
    stdenv = [ ];
    wrk = [ "out" ];
    wslay = [ "out" ];
    zlib = [
      "out"
      "dev"
    ];
  };

  # What runs at the desk; Linux and macOS.
  tools = {
    actionlint = [ "out" ];
    age = [ "out" ];
    clang-tools = [ "out" ];
    cosign = [ "out" ];
    deadnix = [ "out" ];
    gcovr = [ "out" ];
    ghz = [ "out" ];
    git = [ "out" ];
    go = [ "out" ];
    grpcurl = [ "out" ];
    grype = [ "out" ];
    just = [ "out" ];
    kube-score = [ "out" ];
    kubeconform = [ "out" ];
    kubectl = [ "out" ];
    kustomize = [ "out" ];
    linkFarm = [ ];
    mkShell = [ ];
    nixfmt = [ "out" ];
    nodejs = [ "out" ];
    python3 = [ "out" ];
    rclone = [ "out" ];
    ruff = [ "out" ];
    runCommand = [ ];
    shellcheck = [ "out" ];
    skaffold = [ "out" ];
    skopeo = [ "out" ];
    spin = [ "out" ];
    statix = [ "out" ];
    stdenv = [ ];
    vegeta = [ "out" ];
    yamlfmt = [ "out" ];
  };
}
