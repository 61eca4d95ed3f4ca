# src/lib and proto, built once for all services: archives and headers.
{ stdenv, meson, ninja, pkg-config, python3, protobufc, openssl, zlib, grpc, lmdb, jansson, h2oLibraries, mesonFlags, version, src }:
stdenv.mkDerivation {
  pname = "slipway-library";
  inherit version src mesonFlags;
  strictDeps = true;
  nativeBuildInputs = [ meson ninja pkg-config python3 protobufc ];
  buildInputs = [ h2oLibraries openssl zlib grpc lmdb jansson protobufc ];
  mesonBuildType = "release"; # asserts stay on
  postPatch = "patchShebangs scripts";
  # meson's own archives are thin: they only name the objects.
  installPhase = ''
    mkdir -p $out/lib $out/include
    ''${AR:-ar} rcsD $out/lib/libslipway.a liblib.a.p/*.o
    ''${AR:-ar} rcsD $out/lib/libslipway-proto.a proto/libproto.a.p/*.o
    cp ../src/lib/*.h proto/*.h $out/include/
  '';
}
