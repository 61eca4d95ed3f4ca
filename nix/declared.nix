# What a service.toml says of an image: the ports that it exposes (none: it runs to its end) and the folders that it may
# write to. docs/add-a-service.md is the reference of the declarations, and scripts/services.py checks them.
{ lib, file }:
let
  said = builtins.fromTOML (builtins.readFile file);
  http = said.http or (if said ? grpc then false else 8080);
in
{
  ports =
    if said.kind or "service" == "tool" then
      [ ]
    else
      lib.optional (http != false) http ++ lib.optional (said ? grpc) said.grpc ++ [ 9090 ];
  volumes = lib.optional (said.store or [ ] != [ ]) "/data";
}
