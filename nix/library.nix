# src/lib and the messages as archives, once for all services. Compiled in parts, a layer each, so that an edit of one file
# compiles its layer again and nothing else (decision 22).
{
  lib,
  runCommandCC,
  configured,
  layers,
  objects,
  version,
}:
let
  names = builtins.attrNames (removeAttrs layers [ "services" ]);
  hasSources =
    layer:
    builtins.any (lib.hasSuffix ".c") (
      builtins.attrNames (builtins.readDir (../src/lib + "/${layer}"))
    );
  part =
    layer:
    objects {
      folder = "lib/${layer}";
      sees = layers.${layer};
    };
  parts = map part (builtins.filter hasSources names);
in
runCommandCC "slipway-library-${version}" { } ''
  mkdir -p $out/lib
  ar rcsD $out/lib/libslipway.a ${lib.concatMapStringsSep " " (part: "${part}/*.o") parts}
  cp ${configured}/lib/*.a $out/lib/
''
