# nix flake check: the unit tests, every image (each with its closure guard), the formatting.
{ lib, target, tools, h2oLibraries, version, images }:
let
  source =
    folders:
    builtins.path {
      name = "slipway-source";
      path = ../.;
      filter =
        path: _:
        let
          relative = lib.removePrefix (toString ../. + "/") path;
        in
        builtins.any (folder: relative == folder || lib.hasPrefix "${folder}/" relative || lib.hasPrefix "${relative}/" folder) folders;
    };
in
{
  inherit images;

  unit = target.stdenv.mkDerivation {
    pname = "slipway-unit-tests";
    inherit version;
    src = source [ "VERSION" "meson.build" "meson_options.txt" "proto" "scripts" "share" "src" "tests/meson.build" "tests/unit" "tests/bench" ];
    strictDeps = true;
    nativeBuildInputs = with target; [ meson ninja pkg-config python3 protobufc ];
    buildInputs = [ h2oLibraries ] ++ (with target; [ criterion openssl zlib grpc lmdb jansson protobufc ]);
    mesonBuildType = "debugoptimized";
    mesonFlags = [ "-Dwerror=false" "-Dh2o_prefix=${h2oLibraries}" "-Dh2o_libdir=${h2oLibraries.libdir or "${h2oLibraries}/lib"}" ];
    postPatch = "patchShebangs scripts";
    doCheck = true;
    installPhase = "touch $out";
  };

  formatting = tools.runCommand "formatting" { nativeBuildInputs = [ tools.clang-tools ]; src = source [ ".clang-format" "src" "tests/unit" "tests/bench" ]; } ''
    find $src -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
    touch $out
  '';
}
