{
  description = "hello: a service on Slipway";

  inputs.slipway.url = "github:slipway-example/slipway/v0.2.0";

  outputs =
    { slipway, ... }:
    let
      service =
        system:
        slipway.lib.mkService {
          inherit system;
          name = "hello";
          src = ./.;
          source_url = "https://github.com/OWNER/hello";
        };
      each = f: builtins.mapAttrs (system: _: f (service system)) slipway.packages;
    in
    {
      packages = each (service: {
        default = service.package;
        inherit (service) image;
      });
      devShells = each (service: {
        default = service.devShell;
      });
      apps = each (service: service.apps);
    };
}
