# C files of a folder of src, compiled: an object for each in $out. They may include the headers of their folder, the public
# headers of the layers of src/lib that it sees (those that services see, unless it says otherwise), the headers of the
# libraries named (other folders), and the generated messages; so an edit of another .c file compiles nothing here again.
{
  lib,
  runCommandCC,
  python3,
  configured,
  dependencies,
  layers,
}:
{
  folder,
  sees ? layers.services,
  libraries ? [ ],
}:
let
  filesOf =
    from: suffix:
    let
      path = ../src + "/${from}";
    in
    if builtins.pathExists path then
      builtins.filter (lib.hasSuffix suffix) (builtins.attrNames (builtins.readDir path))
    else
      [ ];
  pathsIn = from: map (file: "src/${from}/${file}");
  isLayer = lib.hasPrefix "lib/" folder;
  name = builtins.replaceStrings [ "/" ] [ "-" ] folder;
  folders = lib.unique (
    [ folder ]
    ++ lib.optional isLayer "${folder}/include"
    ++ map (layer: "lib/${layer}/include") sees
    ++ libraries
  );
  withHeaders = builtins.filter (from: filesOf from ".h" != [ ]) folders;
  sources = filesOf folder ".c";
  described = builtins.elem "openapi.json" (filesOf folder ".json");
  hasWww = builtins.pathExists (../src + "/${folder}/www");
in
runCommandCC "objects-${name}"
  {
    buildInputs = dependencies;
    nativeBuildInputs = [ python3 ];
    src = import ./source.nix {
      inherit lib;
      name = "objects-${name}";
      wanted =
        pathsIn folder (sources ++ lib.optional described "openapi.json" ++ lib.optional hasWww "www")
        ++ builtins.concatMap (from: pathsIn from (filesOf from ".h")) withHeaders;
    };
  }
  # Objects of different layers have different names: they become members of one archive.
  ''
    cp -r --no-preserve=mode $src/src .
    ${import ./data.nix {
      inherit lib described hasWww;
      name = folder;
      from = "src/${folder}";
      to = "src/${folder}";
    }}
    mkdir $out
    export PWD=/proc/self/cwd # what gcc calls the folder in debug information: that of the build has another name each time
    find src/${folder} -maxdepth 1 -name '*.c' -printf '%f\n' | xargs -P "$NIX_BUILD_CORES" -I FILE \
      $CC @${configured}/compile -I${configured}/include ${
        lib.concatMapStringsSep " " (from: "-Isrc/${from}") withHeaders
      } \
      -c src/${folder}/FILE -o $out/${name}-FILE.o
  ''
