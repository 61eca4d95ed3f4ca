# libh2o-evloop alone, static, with its headers: no server, no mruby, no perl scripts, and with an install prefix that is
# no store path (libh2o embeds it). Its headers include picotls' and quicly's.
{
  stdenv,
  cmake,
  ninja,
  pkg-config,
  openssl,
  zlib,
  h2o,
}:
stdenv.mkDerivation {
  pname = "h2o";
  inherit (h2o) version src;
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
