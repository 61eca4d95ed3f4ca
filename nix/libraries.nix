# The libraries of src (folders without a main.c) that a service uses: those whose headers it or they include. src/lib is
# not among them: everything uses it.
{ lib }:
let
  src = ../src;
  filesOf = folder: builtins.attrNames (builtins.readDir (src + "/${folder}"));
  isLibrary =
    folder: type:
    type == "directory" && folder != "lib" && !builtins.pathExists (src + "/${folder}/main.c");
  libraries = builtins.attrNames (lib.filterAttrs isLibrary (builtins.readDir src));

  includes = lib.genAttrs (builtins.attrNames (builtins.readDir src)) (
    folder:
    let
      sources = builtins.filter (file: builtins.match ".*\\.[ch]" file != null) (filesOf folder);
      lines = builtins.concatMap (
        file: lib.splitString "\n" (builtins.readFile (src + "/${folder}/${file}"))
      ) sources;
      matches = builtins.filter (match: match != null) (
        map (builtins.match "#include \"([^\"]*)\".*") lines
      );
    in
    map builtins.head matches
  );
  uses =
    folder: library: builtins.any (header: builtins.elem header includes.${folder}) (filesOf library);
  stepsFrom =
    name:
    builtins.genericClosure {
      startSet = [ { key = name; } ];
      operator = step: map (key: { inherit key; }) (builtins.filter (uses step.key) libraries);
    };
in
name: builtins.filter (folder: folder != name) (map (step: step.key) (stepsFrom name))
