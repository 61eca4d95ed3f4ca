# The most that an image may weigh, compressed, in bytes. Its build fails beyond it.
let
  MB = 1000 * 1000;
in
{
  service = 6 * MB;
  grpcService = 11 * MB;
  etcd = 30 * MB;
  prometheus = 45 * MB;
}
