# One service: $out/bin/NAME, and in $out/nix-support/archives the static libraries that it took members from.
{
  stdenv, meson, ninja, pkg-config, python3, protobufc, openssl, zlib, grpc, lmdb, jansson,
  h2oLibraries, library, mesonFlags, name, version, src,
}:
stdenv.mkDerivation {
  pname = name;
  inherit version src;
  strictDeps = true;
  nativeBuildInputs = [ meson ninja pkg-config python3 protobufc ];
  buildInputs = [ h2oLibraries openssl zlib grpc lmdb jansson protobufc ];
  mesonBuildType = "release"; # asserts stay on
  mesonFlags = mesonFlags ++ [
    "-Dlibrary=${library}"
    "-Dstrip=true"
    "-Dc_link_args=-Wl,-Map=link.map"
  ];
  postPatch = "patchShebangs scripts";
  # The data folder is beside $out: install into a stage, and take the program from there.
  installPhase = ''
    DESTDIR=$PWD/stage meson install --no-rebuild --tags runtime
    install -D -m 755 stage$out/bin/${name} $out/bin/${name}
    mkdir -p $out/nix-support
    grep -o '^/[^(]*\.a(' link.map | tr -d '(' | grep -v '^${library}/' | sort -u | xargs -r realpath | sort -u \
      > $out/nix-support/archives
  '';
  meta.mainProgram = name;
}
