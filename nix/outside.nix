# A service of another repository (flake.nix: lib.mkService): compiled, linked and packed as those of this tree are.
#
# mkService { name, src, source_url, license } -- src is the folder that holds VERSION, src/ (main.c, service.toml, further .c
# and .h files, and openapi.json and www as services of this tree have them), and proto/ (NAME.proto) if there are any; source_url
# is the address of the repository, for the image's labels and provenance; license is an SPDX expression, Apache-2.0 if it is not
# given. The result: package (the program), image (a program that writes the image to its standard output; image.layout is an OCI
# layout), devShell, and apps (build-image for Skaffold, manifests).
{
  lib,
  runCommandCC,
  python3,
  protobufc,
  target,
  tools,
  version,
  configured,
  dependencies,
  library,
  librarySource,
  package,
  imageOf,
  streamOf,
  summary,
  shell,
}:
let
  partOfTree =
    name: wanted:
    import ./source.nix {
      inherit lib name wanted;
    };
  scripts = partOfTree "scripts" [
    "scripts/embed"
    "scripts/proto"
    "scripts/public"
    "scripts/rpc-stubs"
    "src/lib"
  ];
  headers = target.runCommand "slipway-headers" { nativeBuildInputs = [ python3 ]; } ''
    mkdir -p $out/slipway
    python3 -B ${scripts}/scripts/public names > $out/slipway/names.h
    for header in $(python3 -B ${scripts}/scripts/public headers); do cp ${scripts}/src/lib/$header $out/slipway/; done
    cp ${configured}/include/health.pb-c.h ${configured}/include/health.rpc_client.h $out/slipway/
  '';
  objects =
    name: src:
    runCommandCC "objects-${name}"
      {
        buildInputs = dependencies;
        nativeBuildInputs = [
          python3
          protobufc
        ];
        inherit src;
      }
      ''
        cp -r --no-preserve=mode $src/. .
        cp -r --no-preserve=mode ${scripts}/scripts .
        chmod +x scripts/*
        patchShebangs scripts
        mkdir -p made $out
        shopt -s nullglob
        for proto in proto/*.proto; do scripts/proto --path proto $proto made; done
        ${import ./data.nix {
          inherit name;
          from = "src";
          to = "made";
          described = builtins.pathExists (src + "/src/openapi.json");
          hasWww = builtins.pathExists (src + "/src/www");
          headers = "slipway/";
        }}
        export PWD=/proc/self/cwd # as in objects.nix
        find src made -maxdepth 1 -name '*.c' | xargs -P "$NIX_BUILD_CORES" -I FILE sh -c \
          '$CC @${configured}/compile -I${headers} -Imade -Isrc -c FILE -o $out/$(basename FILE).o'
      '';
in
{
  name,
  src,
  license ? "Apache-2.0",
  source_url,
}:
let
  sources = import ./source.nix {
    inherit lib name;
    tree = src;
    wanted = [
      "src"
      "proto"
    ];
  };
  program = import ./service.nix {
    inherit
      lib
      name
      configured
      dependencies
      library
      ;
    inherit (target) stdenv;
    version = builtins.head (lib.splitString "\n" (builtins.readFile (src + "/VERSION")));
    own = objects name sources;
    others = [ ];
    sources = {
      ${name} = sources;
      library = librarySource;
    };
  };
  declared = import ./declared.nix {
    inherit lib;
    file = src + "/src/service.toml";
  };
  image = streamOf name (
    imageOf name program {
      inherit (declared) ports volumes;
      inherit license source_url;
      description = summary name (src + "/src/main.c");
    }
  );
in
{
  package = program;
  inherit image;
  devShell = shell [ package ];
  apps = import ./outside-apps.nix {
    inherit
      lib
      tools
      name
      image
      version
      ;
  };
}
