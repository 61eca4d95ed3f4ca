# The part of the tree that one service is built from: an edit elsewhere changes nothing for it.
{ lib, name, libraries, share }:
let
  root = toString ../.;
  wanted = [
    "VERSION"
    "meson.build"
    "meson_options.txt"
    "proto"
    "scripts/embed"
    "scripts/find-sources"
    "src/lib"
    "src/${name}"
  ]
  ++ map (library: "src/${library}") libraries
  ++ lib.optional share "share/${name}";
  isOrHolds = outer: inner: outer == inner || lib.hasPrefix "${outer}/" inner;
in
builtins.path {
  name = "${name}-source";
  path = ../.;
  filter =
    path: _:
    let
      relative = lib.removePrefix "${root}/" path;
    in
    builtins.any (want: isOrHolds want relative || isOrHolds relative want) wanted;
}
