# C files of a folder of src, compiled: $out/FILE.o for each that is wanted. They may include the headers of their folder, of
# the libraries named (other folders), of src/lib, and the generated messages; so an edit of another .c file compiles nothing
# here again.
{
  lib,
  runCommandCC,
  python3,
  configured,
  dependencies,
}:
{
  folder,
  name ? folder,
  isWanted ? _: true,
  libraries ? [ ],
}:
let
  filesOf =
    from: suffix:
    builtins.filter (lib.hasSuffix suffix) (
      builtins.attrNames (builtins.readDir (../src + "/${from}"))
    );
  pathsIn = from: map (file: "src/${from}/${file}");
  folders = lib.unique (
    [
      folder
      "lib"
    ]
    ++ libraries
  );
  sources = builtins.filter isWanted (filesOf folder ".c");
  json = builtins.filter isWanted (filesOf folder ".json");
in
runCommandCC "objects-${name}"
  {
    buildInputs = dependencies;
    nativeBuildInputs = [ python3 ];
    src = import ./source.nix {
      inherit lib;
      name = "objects-${name}";
      wanted =
        pathsIn folder (sources ++ json)
        ++ builtins.concatMap (from: pathsIn from (filesOf from ".h")) folders;
    };
  }
  # FILE.json is the array FOLDER_FILE_json, as meson.build has it for services.
  ''
    cp -r --no-preserve=mode $src/src .
    ${lib.concatMapStringsSep "\n" (file: ''
      data=$(printf '${folder}_%s' ${lib.removeSuffix ".json" file} | tr - _)
      python3 ${../scripts/embed} src/${folder}/${file} ''${data}_json src/${folder}/$data.c src/${folder}/$data.h
    '') json}
    mkdir $out
    find src/${folder} -name '*.c' -printf '%f\n' | xargs -P "$NIX_BUILD_CORES" -I FILE \
      $CC @${configured}/compile -I${configured}/include ${
        lib.concatMapStringsSep " " (from: "-Isrc/${from}") folders
      } \
      -c src/${folder}/FILE -o $out/FILE.o
  ''
