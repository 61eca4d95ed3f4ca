# The libraries of src (folders without a main.c) that a service uses: those whose headers it or they include. src/lib is
# not among them: everything uses it.
{ lib, name }:
let
  src = ../src;
  filesOf = folder: builtins.attrNames (builtins.readDir (src + "/${folder}"));
  isLibrary =
    folder: type:
    type == "directory" && folder != "lib" && !builtins.pathExists (src + "/${folder}/main.c");
  libraries = builtins.attrNames (lib.filterAttrs isLibrary (builtins.readDir src));

  includesOf =
    folder:
    let
      sources = builtins.filter (file: builtins.match ".*\\.[ch]" file != null) (filesOf folder);
      lines = builtins.concatMap (file: lib.splitString "\n" (builtins.readFile (src + "/${folder}/${file}"))) sources;
      matches = builtins.filter (match: match != null) (map (builtins.match "#include \"([^\"]*)\".*") lines);
    in
    map builtins.head matches;
  uses = folder: library: builtins.any (header: builtins.elem header (includesOf folder)) (filesOf library);
  steps = builtins.genericClosure {
    startSet = [ { key = name; } ];
    operator = step: map (key: { inherit key; }) (builtins.filter (uses step.key) libraries);
  };
in
builtins.filter (folder: folder != name) (map (step: step.key) steps)
