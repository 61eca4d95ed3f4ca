# nix flake check: the unit tests, every image (each with its closure guard), the manifests as far as can be without
# network (their schemas are for tests/manifests), the formatting.
{
  lib,
  target,
  tools,
  version,
  images,
  buildFiles,
  dependencies,
  mesonFlags,
}:
let
  source =
    wanted:
    import ./source.nix {
      inherit lib wanted;
      name = "checks";
    };
  # What meson takes part in: not the tests of images, say.
  tests = builtins.filter (folder: builtins.pathExists (../. + "/${folder}/meson.build")) (
    map (folder: "tests/${folder}") (builtins.attrNames (builtins.readDir ../tests))
  );
in
{
  inherit images;

  unit = target.stdenv.mkDerivation {
    pname = "slipway-unit-tests";
    inherit version;
    src = source (
      buildFiles
      ++ [
        "scripts"
        "share"
        "src"
        "tests/meson.build"
      ]
      ++ tests
    );
    strictDeps = true;
    nativeBuildInputs = with target; [
      meson
      ninja
      pkg-config
      python3
      protobufc
    ];
    buildInputs = dependencies ++ [ target.criterion ];
    mesonBuildType = "debugoptimized";
    inherit mesonFlags;
    postPatch = "patchShebangs scripts";
    doCheck = true;
    installPhase = "touch $out";
  };

  manifests =
    tools.runCommand "manifests"
      {
        nativeBuildInputs = [
          tools.kustomize
          target.prometheus.cli
        ];
        src = source [
          "k8s"
          "tests/manifests"
        ];
      }
      ''
        for overlay in $src/k8s/overlays/*; do kustomize build $overlay >/dev/null; done
        promtool test rules $src/tests/manifests/rules.test.yml
        touch $out
      '';

  formatting =
    tools.runCommand "formatting"
      {
        nativeBuildInputs = [ tools.clang-tools ];
        src = source (
          [
            ".clang-format"
            "src"
          ]
          ++ tests
        );
      }
      ''
        find $src -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
        touch $out
      '';
}
