# src/lib and proto, built once for all services: archives and headers. In parts, by the names of the files, so that an edit
# of one file compiles its part again and nothing else (decision 22).
{
  lib, stdenv, runCommandCC, meson, ninja, pkg-config, python3, protobufc, openssl, zlib, grpc, lmdb, jansson,
  h2oLibraries, mesonFlags, version,
}:
let
  files = builtins.attrNames (builtins.readDir ../src/lib);
  headers = builtins.filter (lib.hasSuffix ".h") files;
  sources = builtins.filter (lib.hasSuffix ".c") files;
  prefixes = [ "http" "rpc" "store" ];
  isOf = prefix: file: lib.hasPrefix "${prefix}.c" file || lib.hasPrefix "${prefix}_" file;
  isIn = part: file: if part == "rest" then !builtins.any (prefix: isOf prefix file) prefixes else isOf part file;

  part =
    name:
    stdenv.mkDerivation {
      pname = "slipway-library-${name}";
      inherit version mesonFlags;
      src = import ./source.nix {
        inherit lib;
        name = "library-${name}";
        wanted = [ "proto" ] ++ map (file: "src/lib/${file}") (headers ++ builtins.filter (isIn name) sources);
      };
      strictDeps = true;
      nativeBuildInputs = [ meson ninja pkg-config python3 protobufc ];
      buildInputs = [ h2oLibraries openssl zlib grpc lmdb jansson protobufc ];
      mesonBuildType = "release"; # asserts stay on
      ninjaFlags = [ "liblib.a" ] ++ lib.optional (name == "rpc") "proto/libproto.a";
      postPatch = "patchShebangs scripts";
      # meson's own archives are thin: they only name the objects.
      installPhase = ''
        mkdir -p $out/include $out/lib $out/proto
        cp liblib.a.p/*.o $out/lib/
        [ ! -e proto/libproto.a ] || cp proto/libproto.a.p/*.o $out/proto/
        cp ../src/lib/*.h proto/*.h $out/include/
      '';
    };
  parts = lib.genAttrs (prefixes ++ [ "rest" ]) part;
in
runCommandCC "slipway-library-${version}" { } ''
  mkdir -p $out/lib
  ar rcsD $out/lib/libslipway.a ${lib.concatMapStringsSep " " (part: "${part}/lib/*.o") (builtins.attrValues parts)}
  ar rcsD $out/lib/libslipway-proto.a ${parts.rpc}/proto/*.o
  cp -r ${parts.rpc}/include $out/include
''
