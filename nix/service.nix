# One service: $out/bin/NAME, and in $out/nix-support/archives the static libraries that it took members from.
{
  stdenv, meson, ninja, pkg-config, python3, protobufc, openssl, zlib, grpc, lmdb, jansson,
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
    "-Dprefer_static=true"
    "-Dh2o_prefix=${h2oLibraries}"
    "-Dh2o_libdir=${h2oLibraries}/lib"
    "-Ddatadir=/share" # where data is in the image
    "-Dc_link_args=-Wl,-Map=link.map"
  ];
  postPatch = "patchShebangs scripts";
  # Not `meson install`: it would write to /share.
  installPhase = ''
    install -D -m 755 -s ${name} $out/bin/${name}
    mkdir -p $out/nix-support
    grep -o '^/[^(]*\.a(' link.map | tr -d '(' | sort -u | xargs -r realpath | sort -u > $out/nix-support/archives
  '';
  meta.mainProgram = name;
}
