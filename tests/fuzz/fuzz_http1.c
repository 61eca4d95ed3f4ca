/* A whole service over HTTP/1.1: the bytes of a connection, in two pieces (the first byte says where they are cut). */
#include "http_parse.h"
#include "notes.h"

static struct notes *notes;
static int port;

/* The first answer; what follows it depends on the request's method. */
static void check(struct str output)
{
    struct http_head head;

    if (output.len < 5 || memcmp(output.s, "HTTP/", 5) != 0)
        return; /* nothing, or HTTP/2 */
    MUST(http_parse_response(output, 0, &head) > 0);
    MUST(head.status == 101 || (head.status >= 200 && head.status < 500) || head.status == 503 || head.status == 507 ||
         head.status == 100 || head.status == 505);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    size_t cut = fuzz_byte(&input);
    struct str bytes = fuzz_rest(&input);
    struct buf output = {0};
    int fd;

    if (notes == NULL)
        port = notes_serve(notes = notes_open());
    cut = cut < bytes.len ? cut : bytes.len;
    fd = service_connect(port);
    service_send(fd, (struct str){bytes.s, cut});
    service_send(fd, (struct str){bytes.s + cut, bytes.len - cut});
    shutdown(fd, SHUT_WR);
    while (service_receive(fd, &output))
        continue;
    close(fd);
    check(buf_str(&output));
    buf_release(&output);
    service_check_log(notes->log);
    return 0;
}
