# A part of a tree: the files that the build of something reads. An edit elsewhere changes nothing for it.
{
  lib,
  name,
  wanted,
  tree ? ../.,
}:
let
  root = toString tree;
  isOrHolds = outer: inner: outer == inner || lib.hasPrefix "${outer}/" inner;
in
builtins.path {
  name = "${name}-source";
  path = tree;
  filter =
    path: _:
    let
      relative = lib.removePrefix "${root}/" path;
    in
    builtins.any (want: isOrHolds want relative || isOrHolds relative want) wanted;
}
