# src/lib and the messages as archives, once for all services. Compiled in parts, by what the files' names begin with, so that
# an edit of one file compiles its part again and nothing else (decision 22).
{
  lib,
  runCommandCC,
  configured,
  objects,
  version,
}:
let
  sources = builtins.filter (lib.hasSuffix ".c") (builtins.attrNames (builtins.readDir ../src/lib));
  topicOf = file: builtins.head (builtins.match "([a-z0-9]*).*" file); # of http_route.c: http
  part =
    topic:
    objects {
      folder = "lib";
      name = "lib-${topic}";
      isWanted = file: topicOf file == topic;
    };
  parts = map part (lib.unique (map topicOf sources));
in
runCommandCC "slipway-library-${version}" { } ''
  mkdir -p $out/lib
  ar rcsD $out/lib/libslipway.a ${lib.concatMapStringsSep " " (part: "${part}/*.o") parts}
  cp ${configured}/lib/*.a $out/lib/
''
