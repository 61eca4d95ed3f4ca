# One service: $out/bin/NAME, and in $out/nix-support/archives the static libraries that it took members from.
{
  lib, stdenv, meson, ninja, pkg-config, python3, protobufc, openssl, zlib, grpc, lmdb, jansson,
  h2oLibraries, name, version, src,
}:
stdenv.mkDerivation {
  pname = name;
  inherit version src;
  strictDeps = true;
  nativeBuildInputs = [ meson ninja pkg-config python3 protobufc ];
  buildInputs = [ h2oLibraries openssl zlib grpc lmdb jansson protobufc ];
  mesonBuildType = "release"; # asserts stay on
  mesonFlags = [
    "-Dtests=false"
    "-Dwerror=false" # another compiler's new warnings are no reason not to ship
    "-Dh2o_prefix=${h2oLibraries}"
    "-Dh2o_libdir=${h2oLibraries.libdir or "${h2oLibraries}/lib"}"
    "-Ddatadir=/share" # where data is in the image
    "-Dstrip=true"
    "-Dc_link_args=-Wl,-Map=link.map"
  ]
  ++ lib.optional (grpc.archives or false) "-Dprefer_static=true"; # nixpkgs has no archives but ours of h2o
  postPatch = "patchShebangs scripts";
  # The data folder is beside $out: install into a stage, and take the program from there.
  installPhase = ''
    DESTDIR=$PWD/stage meson install --no-rebuild --tags runtime
    install -D -m 755 stage$out/bin/${name} $out/bin/${name}
    mkdir -p $out/nix-support
    grep -o '^/[^(]*\.a(' link.map | tr -d '(' | sort -u | xargs -r realpath | sort -u > $out/nix-support/archives
  '';
  meta.mainProgram = name;
}
