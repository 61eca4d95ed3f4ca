# What meson knows, asked once for all that Nix compiles: it takes longer to configure than to compile a service
# (decision 22). $out/compile and $out/link hold the compiler's arguments, as meson has them for a service that is empty;
# $out/include and $out/lib the generated messages.
{
  stdenv,
  meson,
  ninja,
  pkg-config,
  python3,
  protobufc,
  dependencies,
  mesonFlags,
  version,
  src,
}:
stdenv.mkDerivation {
  pname = "slipway-configured";
  inherit version src;
  strictDeps = true;
  nativeBuildInputs = [
    meson
    ninja
    pkg-config
    python3
    protobufc
  ];
  buildInputs = dependencies;
  mesonBuildType = "release"; # asserts stay on
  inherit mesonFlags;
  ninjaFlags = [ "proto/libproto.a" ];
  postPatch = ''
    patchShebangs scripts
    mkdir -p src/lib src/empty
    printf 'services:\n' > src/lib/layers
    echo 'int main(void) { return 0; }' > src/empty/main.c
  '';
  preBuild = "export PWD=/proc/self/cwd"; # as in objects.nix
  # Without the names of its own files: a line each of `cc ARGUMENTS -MD ... -c FILE` and `cc -o empty OBJECT ARGUMENTS`.
  installPhase = ''
    mkdir -p $out/include $out/lib
    cp proto/*.h $out/include/
    ar rcsD $out/lib/libslipway-proto.a proto/libproto.a.p/*.o
    ninja -t commands empty > commands
    sed -n '/ -c .*\/empty\/main\.c$/ { s/^[^ ]* //; s/ -MD .*//; s/ *-I[^/ ][^ ]*//g; p }' commands > $out/compile
    sed -n '/ -o empty / { s/^.* empty\.p[^ ]*//; s/ proto\/libproto\.a//; p }' commands > $out/link
    mkdir try
    cd try
    $CC @$out/compile -c ../../src/empty/main.c -o empty.o
    $CC -o empty empty.o @$out/link
  '';
}
