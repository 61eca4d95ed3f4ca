# nix flake check: unit tests; integration tests of the programs that are in the images; every image (each with its closure
# guard); the manifests, as far as that needs no network (their schemas are for tests/manifests); the formatting.
{
  lib,
  target,
  tools,
  version,
  images,
  services,
  buildFiles,
  dependencies,
  h2oLibraries,
  commonFlags,
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
  # What the tests call; without one of them some would be left out.
  called = with target; [
    (python3.withPackages (import ./python-packages.nix))
    curl
    etcd_3_6
    nghttp2
    openssl
    pkg-config
    prometheus.cli
    tools.ghz
    tools.git
    tools.grpcurl
    tools.just
    tools.kustomize
  ];
  # The programs are those that the images hold. Memory cgroups and networks of their own are not to be had in a sandbox.
  integrationOf =
    chosen:
    target.runCommandCC "slipway-integration-tests"
      {
        src = source [
          ".gitignore"
          "Justfile"
          "README.md"
          "SECURITY.md"
          "VERSION"
          "dev"
          "docs"
          "k8s"
          "meson.build"
          "nix"
          "proto"
          "scripts"
          "share"
          "skaffold.yaml"
          "src"
          "tests"
        ];
        nativeBuildInputs = called;
        buildInputs = dependencies;
      }
      ''
        cp -R --no-preserve=ownership $src source
        chmod -R u+w source
        cd source
        patchShebangs dev scripts tests
        mkdir build
        ln -s ${
          lib.concatMapStringsSep " " (name: "${services.${name}}/bin/*") (builtins.attrNames services)
        } build/
        git init -q
        git add --all
        git -c user.name=check -c user.email=check@localhost commit -q -m "The tree"
        export HOME=$NIX_BUILD_TOP SLIPWAY_BUILD=$PWD/build SLIPWAY_H2O_PREFIX=${h2oLibraries}
        pytest tests/integration -n 2 -m 'not limited' ${chosen}
        touch $out
      '';
in
{
  inherit images;

  # integration.some: a few of them.
  integration = integrationOf "" // {
    some = integrationOf "-k 'demo or vulnerabilities or service_lifecycle'";
  };

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
    nativeCheckInputs = with target; [
      etcd_3_6
      openssl
    ];
    mesonBuildType = "debugoptimized";
    mesonFlags = commonFlags ++ [
      "-Dtests=true"
      "-Dwerror=true"
    ];
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
