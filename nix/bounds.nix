# The most that an image may weigh, compressed, in bytes. Its build fails beyond it.
let
  MB = 1000 * 1000;
in
{
  plain = 6 * MB; # of a service
  grpc = 11 * MB; # of one that links gRPC
  backup-tools = 40 * MB;
  etcd = 30 * MB;
  prometheus = 45 * MB;
}
