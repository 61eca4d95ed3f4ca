# A part of the tree: the files that the build of something reads. An edit elsewhere changes nothing for it.
{
  lib,
  name,
  wanted,
}:
let
  root = toString ../.;
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
