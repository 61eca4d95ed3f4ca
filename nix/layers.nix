# The layers of src/lib, of src/lib/layers: for each a name and what it sees. The last, services, is what services see.
{ lib }:
let
  lines = builtins.filter (line: builtins.match "[a-z].*" line != null) (
    lib.splitString "\n" (builtins.readFile ../src/lib/layers)
  );
  parsed = map (builtins.match "([^:]*): *(.*)") lines;
in
builtins.listToAttrs (
  map (match: {
    name = builtins.head match;
    value = builtins.filter (word: word != "") (lib.splitString " " (builtins.elemAt match 1));
  }) parsed
)
