# One service, linked: $out/bin/NAME without symbols, and in $out/nix-support/archives the static libraries that it took members
# from. $debug has the symbols, found by the program's build id, as gdb and scripts/symbolize look for them.
{
  lib,
  stdenv,
  configured,
  dependencies,
  library,
  name,
  version,
  own,
  others,
  sources,
}:
stdenv.mkDerivation {
  pname = name;
  inherit version;
  outputs = [
    "out"
    "debug"
  ];
  strictDeps = true;
  buildInputs = dependencies;
  dontUnpack = true;
  dontConfigure = true;
  # Of the other folders' objects only what is used gets in, as of those of src/lib. The map says what did.
  buildPhase = ''
    shopt -s nullglob # a library may be headers alone
    ar rcsD libothers.a ${lib.concatMapStringsSep " " (objects: "${objects}/*.o") others}
    $CC -o ${name} ${own}/*.o -L. -lothers -L${library}/lib -lslipway -lslipway-proto @${configured}/link -Wl,-Map=link.map
  '';
  installPhase = ''
    id=$(readelf --notes ${name} | sed -n 's/.*Build ID: //p')
    [ -n "$id" ] || { echo '${name} has no build id' >&2; exit 1; }
    mkdir -p $debug/lib/debug/.build-id/''${id:0:2}
    objcopy --only-keep-debug ${name} $debug/lib/debug/.build-id/''${id:0:2}/''${id:2}.debug
    strip --strip-all ${name}
    install -D -m 755 ${name} $out/bin/${name}
    mkdir -p $out/nix-support
    grep -o '^/[^(]*\.a(' link.map | tr -d '(' | grep -v '^${library}/' | sort -u | xargs -r realpath | sort -u \
      > $out/nix-support/archives
  '';
  meta.mainProgram = name;
  passthru = { inherit sources; };
}
