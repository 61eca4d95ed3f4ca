{
  description = "A stand-in for nixpkgs that takes everything from a Debian host: for tests without network";

  outputs =
    _:
    let
      lib = import ./lib.nix;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs systems (system: import ./default.nix { inherit system lib; });
    };
}
