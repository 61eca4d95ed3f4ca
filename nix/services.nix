# What the tree does not say about a service. Every folder of src with a main.c is one, named here or not; unless said
# otherwise it serves HTTP and metrics, does not link gRPC and keeps no data. What else of src and share it uses is found
# by looking: nix/libraries.nix, share/NAME.
#
#   grpc       links gRPC: another bound on its size         volumes  folders that it may write to
#   ports      that the image exposes                        env      defaults for the image
{
  feature-store = {
    grpc = true;
    ports = [ 9999 9090 ];
    volumes = [ "/data" ];
  };
  notes.volumes = [ "/data" ];
  route-client = {
    grpc = true;
    ports = [ ];
  };
  route-guide = {
    grpc = true;
    ports = [ 8888 9090 ];
  };
  store-tool = {
    grpc = true;
    ports = [ ];
    volumes = [ "/data" ];
  };
}
