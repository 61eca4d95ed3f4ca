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
      described = if nixpkgs ? rev then "github:NixOS/nixpkgs/${nixpkgs.rev}" else "unlocked";
      lib = pick attributes.lib nixpkgs.lib;
      # target is what images are made of and by; tools is what runs at the desk.
      project =
        system:
        import ./nix {
          inherit lib;
          target = packagesFor (linuxFor system) attributes.target;
          tools = packagesFor system attributes.tools;
          nixpkgs = described;
        };
      each = these: f: lib.genAttrs these (system: f (project system));
    in
    {
      packages = each systems (
        p:
        p.services
        // {
          inherit (p) images;
          slipway = p.package;
          default = p.images;
        }
      );
      checks = each linuxSystems (p: p.checks);
      devShells = each systems (p: {
        default = p.devShell;
      });
      formatter = each systems (p: p.formatter);
      apps = each systems (p: p.apps);

      # For other repositories: docs/use-from-another-repository.md.
      lib.mkService =
        { system, ... }@service: (project system).mkService (removeAttrs service [ "system" ]);
      templates.default = {
        path = ./scripts/templates/repository;
        description = "A service of your own: HTTP and gRPC, tests, image, manifests, CI";
        welcomeText = builtins.readFile ./scripts/templates/welcome.md;
      };
      # slipway: the library, built with the packages of whoever applies this. Linux.
      overlays.default = final: _: {
        slipway =
          (import ./nix {
            lib = pick attributes.lib final.lib;
            target = pick (builtins.attrNames attributes.target) final;
            tools = pick (builtins.attrNames attributes.tools) final;
            nixpkgs = "an overlay's";
          }).package;
      };
    };
}
