# C files of one folder of src, compiled: $out/FILE.o for each. They may include the headers of their folder, of the libraries
# named (other folders), of src/lib, and the generated messages; so an edit of another .c file compiles nothing here again.
{ lib, runCommandCC, python3, configured, dependencies }:
{ name, folder, files, libraries ? [ ] }:
let
  isHeader = lib.hasSuffix ".h";
  headersOf = from: map (file: "src/${from}/${file}") (builtins.filter isHeader (builtins.attrNames (builtins.readDir (../src + "/${from}"))));
  folders = lib.unique ([ folder "lib" ] ++ libraries);
  json = builtins.filter (lib.hasSuffix ".json") files;
in
runCommandCC "objects-${name}"
  {
    buildInputs = dependencies;
    nativeBuildInputs = [ python3 ];
    src = import ./source.nix {
      inherit lib;
      name = "objects-${name}";
      wanted = map (file: "src/${folder}/${file}") files ++ builtins.concatMap headersOf folders;
    };
  }
  ''
    cp -r --no-preserve=mode $src/src .
    ${lib.concatMapStringsSep "\n" (file: ''
      data=$(printf '${folder}_%s' ${lib.removeSuffix ".json" file} | tr - _)
      python3 ${../scripts/embed} src/${folder}/${file} ''${data}_json src/${folder}/$data.c src/${folder}/$data.h
    '') json}
    mkdir $out
    find src/${folder} -name '*.c' -printf '%f\n' | xargs -P "$NIX_BUILD_CORES" -I FILE \
      $CC @${configured}/compile -I${configured}/include ${lib.concatMapStringsSep " " (from: "-Isrc/${from}") folders} \
      -c src/${folder}/FILE -o $out/FILE.o
  ''
