# An image as a folder: oci/ (a layout), image.json, sbom.cdx.json, provenance.intoto.json. See nix/image/assemble.py.
{
  target,
  components,
  nixpkgs,
  preferred,
  spec,
}:
let
  architectures = {
    x86_64-linux = "amd64";
    aarch64-linux = "arm64";
  };
  targetSystem = target.stdenv.hostPlatform.system;
in
target.runCommand "${spec.name}-layout"
  {
    nativeBuildInputs = [ target.python3 ];
    passAsFile = [ "spec" ];
    spec = builtins.toJSON (
      spec
      // {
        inherit components nixpkgs preferred;
        project_url = (import ./project.nix).source_url;
        system = targetSystem;
        architecture = architectures.${targetSystem};
        programs = map (source: {
          inherit source;
          path = "/bin/${baseNameOf source}";
        }) spec.programs;
      }
    );
  }
  ''
    python3 -B ${./image}/assemble.py $specPath $out
  ''
