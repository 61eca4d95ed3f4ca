# Whose files may be in an image, for its bill of materials: name, version, licence (SPDX), store paths.
{
  target,
  h2oLibraries,
  re2,
}:
let
  inherit (target) stdenv;
  component =
    package:
    let
      licenses =
        if builtins.isList package.meta.license then package.meta.license else [ package.meta.license ];
    in
    {
      name = package.pname or (builtins.parseDrvName package.name).name;
      version = package.version or (builtins.parseDrvName package.name).version;
      license = builtins.concatStringsSep " AND " (map (license: license.spdxId) licenses);
      # Without context: to know a path is not to need what is there.
      prefixes = map (output: builtins.unsafeDiscardStringContext "${package.${output}}") package.outputs;
    };
in
map component (
  [
    target.abseil-cpp
    target.age
    target.c-ares
    target.etcd_3_6
    target.grpc
    target.jansson
    target.lmdb
    target.nghttp2
    target.openssl
    target.prometheus
    target.protobufc
    target.rclone
    target.wslay # where libh2o is shared
    target.zlib
    h2oLibraries
    re2
    stdenv.cc.cc
    stdenv.cc.libc
  ]
  # nixpkgs' etcd only links to these.
  ++ builtins.attrValues (target.etcd_3_6.deps or { })
)
