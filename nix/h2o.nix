# libh2o-evloop alone, static, with its headers: no server, no mruby, no perl scripts, and with an install prefix that is
# no store path (libh2o embeds it). Its headers include picotls' and quicly's.
#
# The source is nixpkgs', if that is new enough, otherwise the pinned one. Decision 24 says why an older one is refused.
{
  stdenv,
  cmake,
  ninja,
  pkg-config,
  openssl,
  zlib,
  h2o,
  fetchFromGitHub,
}:
let
  oldest = "2026-06-29";
  # To use another revision, change all three. `nix build` prints the hash where it differs.
  pinned = {
    version = "2.3.0-rolling-2026-06-29";
    src = fetchFromGitHub {
      owner = "h2o";
      repo = "h2o";
      rev = "edd7a120bfc4af11ac0cbebce2a43cc1f93f9af1";
      hash = "sha256-WQy+v4zpwzgbMxT43+Nd33+YPynyZIwqzVTaknqjCmE=";
    };
  };
  # nixpkgs names commits of the branch 2.3 by their date.
  isNewEnough =
    version:
    let
      date = builtins.match ".*-rolling-([0-9]{4}-[0-9]{2}-[0-9]{2})" version;
    in
    if date != null then builtins.head date >= oldest else builtins.compareVersions version "2.4" >= 0;
  used = if isNewEnough h2o.version then h2o else pinned;
in
if !isNewEnough used.version then
  throw "h2o ${used.version} is too old for an image: it must be of ${oldest} or newer (docs/decisions/0024-which-h2o.md)"
else
  stdenv.mkDerivation {
    pname = "h2o";
    inherit (used) version src;
    meta = { inherit (h2o.meta) license; };
    nativeBuildInputs = [
      cmake
      ninja
      pkg-config
    ];
    buildInputs = [
      openssl
      zlib
    ];
    cmakeFlags = [
      "-DWITH_MRUBY=OFF"
      "-DDISABLE_LIBUV=ON"
      "-DCMAKE_INSTALL_PREFIX=/usr"
    ];
    # Its assertions name files, and a path of the build in a program is refused (nix/image/guard.py).
    preConfigure = ''
      export NIX_CFLAGS_COMPILE="$NIX_CFLAGS_COMPILE -ffile-prefix-map=$PWD=h2o"
    '';
    ninjaFlags = [ "libh2o-evloop" ];
    installPhase = ''
      install -D -m 644 libh2o-evloop.a $out/lib/libh2o-evloop.a
      mkdir -p $out/include
      cp -R ../include/. ../deps/picotls/include/. ../deps/quicly/include/. $out/include/
    '';
  }
