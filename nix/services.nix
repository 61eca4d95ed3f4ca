# What the tree does not say about a service. Every folder of src with a main.c is one, named here or not; unless said
# otherwise it serves HTTP and metrics and keeps no data. What else of src and share it uses is found by looking:
# nix/libraries.nix, share/NAME.
#
#   ports    that the image exposes; none: it runs to its end      volumes  folders that it may write to
#   env      defaults for the image
{
  feature-store = {
    ports = [
      9999
      9090
    ];
    volumes = [ "/data" ];
  };
  notes.volumes = [ "/data" ];
  route-client.ports = [ ];
  route-guide.ports = [
    8888
    9090
  ];
  upkeep = {
    ports = [ 9090 ];
    volumes = [ "/data" ];
  };
  store-tool = {
    ports = [ ];
    volumes = [ "/data" ];
  };
}
