# The flake's outputs without flakes, for a Nix with its default configuration: nix-build -A images, -A images.notes,
# -A images.notes.layout, -A devShell. The same derivations as those of the flake: the tree is what git knows of it, and nixpkgs
# is what flake.lock says.
{
  system ? builtins.currentSystem,
  nixpkgs ? null, # a folder in its place; tests/nix/hostpkgs
}:
let
  inherit (builtins.fromJSON (builtins.readFile ./flake.lock)) nodes;
  locked = nodes.nixpkgs.locked;
  source = builtins.fetchTarball {
    url = "https://github.com/${locked.owner}/${locked.repo}/archive/${locked.rev}.tar.gz";
    sha256 = locked.narHash;
  };
  upstream = {
    inherit (locked) rev;
    lib = import (source + "/lib");
    # Evaluated for those systems alone that are asked for.
    legacyPackages = builtins.listToAttrs (
      map
        (name: {
          inherit name;
          value = import source {
            system = name;
            config = { };
            overlays = [ ];
          };
        })
        [
          "x86_64-linux"
          "aarch64-linux"
          "aarch64-darwin"
        ]
    );
  };
  tree = if builtins.pathExists ./.git then builtins.fetchGit ./. else ./.;
  flake = (import (tree + "/flake.nix")).outputs {
    self = { };
    nixpkgs =
      if nixpkgs == null then upstream else (import (nixpkgs + "/flake.nix")).outputs { self = { }; };
  };
in
flake.packages.${system} // { devShell = flake.devShells.${system}.default; }
