/* The peer on h2o alone: GET /demo/hello without a log, metrics or bounds. It takes PORT from the environment. */
#include "../bare.h"
#include "net_listen.h"
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    const char *port = getenv("PORT");
    int fd, bound;

    if (port == NULL || net_listen("127.0.0.1", atoi(port), &fd, &bound) < 0) {
        fprintf(stderr, "h2o: cannot listen on PORT\n");
        return 1;
    }
    bare_serve(fd, "/demo/hello");
}
