# The library for other repositories, as `meson install` gives it: headers, libslipway.a, libslipway.so where the libraries allow
# one, pkg-config files, and the programs that make C of a .proto.
{
  stdenv,
  meson,
  ninja,
  pkg-config,
  python3,
  protobufc,
  dependencies,
  commonFlags,
  version,
  src,
}:
stdenv.mkDerivation {
  pname = "slipway";
  inherit version src;
  strictDeps = true;
  nativeBuildInputs = [
    meson
    ninja
    pkg-config
    python3
    protobufc
  ];
  propagatedBuildInputs = dependencies; # its pkg-config files name them
  postPatch = "patchShebangs scripts";
  mesonBuildType = "release";
  mesonFlags = commonFlags ++ [
    "-Dwerror=false"
    "-Dservices=false"
    "-Dtests=false"
  ];
  installPhase = "meson install --no-rebuild --tags devel,runtime";
}
