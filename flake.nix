{
  description = "Slipway: small, fast services in C on Kubernetes";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { nixpkgs, ... }:
    let
      attributes = import ./nix/nixpkgs-attributes.nix;
      linuxSystems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      systems = linuxSystems ++ [ "aarch64-darwin" ];
      linuxFor = builtins.replaceStrings [ "-darwin" ] [ "-linux" ];
      # The flake sees of nixpkgs what that file lists, and nothing else.
      pick =
        names: set:
        builtins.listToAttrs (
          map (name: {
            inherit name;
            value = set.${name};
          }) names
        );
      packagesFor = system: names: pick (builtins.attrNames names) nixpkgs.legacyPackages.${system};
      lib = pick attributes.lib nixpkgs.lib;
      # target is what images are made of and by; tools is what runs at the desk.
      project =
        system:
        import ./nix {
          inherit lib;
          target = packagesFor (linuxFor system) attributes.target;
          tools = packagesFor system attributes.tools;
          nixpkgs = if nixpkgs ? rev then "github:NixOS/nixpkgs/${nixpkgs.rev}" else "unlocked";
        };
      each = these: f: lib.genAttrs these (system: f (project system));
    in
    {
      packages = each systems (
        p:
        p.services
        // {
          inherit (p) images;
          default = p.images;
        }
      );
      checks = each linuxSystems (p: p.checks);
      devShells = each systems (p: {
        default = p.devShell;
      });
      formatter = each systems (p: p.formatter);
      apps = each systems (p: p.apps);
    };
}
