# What a service of another repository runs by `nix run .#NAME`: build-image gives the image to a registry or a Docker daemon, as
# Skaffold wants it; manifests writes k8s/base from src/service.toml.
{
  lib,
  tools,
  name,
  image,
  version,
}:
let
  modules = builtins.filter (lib.hasSuffix ".py") (builtins.attrNames (builtins.readDir ../scripts));
  scripts = import ./source.nix {
    inherit lib;
    name = "scripts";
    wanted = [
      "nix/give-image"
      "nix/project.nix"
      "scripts/manifests"
    ]
    ++ map (module: "scripts/${module}") modules;
  };
  app = called: command: {
    type = "app";
    program = "${
      tools.runCommand "slipway-${called}" { } ''
        mkdir -p $out/bin
        cat > $out/bin/${called} <<'END'
        #!/bin/sh
        PATH=${tools.python3}/bin:${tools.skopeo}/bin:$PATH
        exec ${command} "$@"
        END
        chmod +x $out/bin/${called}
      ''
    }/bin/${called}";
  };
in
{
  build-image = app "build-image" "bash ${scripts}/nix/give-image ${image} ${image.layout}";
  manifests = app "manifests" "python3 -B ${scripts}/scripts/manifests --ref v${version} ${name}";
}
