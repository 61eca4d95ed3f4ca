# nix run .#images -- list | push | verify: nix/images of the tree one is in, with what it calls.
{ tools }:
let
  script = tools.runCommand "slipway-images" { } ''
    mkdir -p $out/bin
    cat > $out/bin/slipway-images <<'END'
    #!/bin/sh
    PATH=${tools.python3}/bin:${tools.skopeo}/bin:${tools.git}/bin:$PATH
    exec "$(git rev-parse --show-toplevel)/nix/images" "$@"
    END
    chmod +x $out/bin/slipway-images
  '';
in
{
  images = {
    type = "app";
    program = "${script}/bin/slipway-images";
  };
}
