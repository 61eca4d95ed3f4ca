/* demo -- what its files share. Handlers run in the worker's thread. */
#pragma once
#include "http.h"

struct demo {
    struct metrics *metrics;
    const char *service_name;
    struct metrics_family *response_time;
    bool http_metrics; /* is /metrics served beside /demo too? */
    struct waiting *waiting;
    unsigned workers;
};

/* GET /demo/hello[?delay=MS]: says hello after MS milliseconds, HELLO_MAX_DELAY_MS at most. What is not a whole number
 * of decimal digits counts as 0; of several the first counts. Not more than HELLO_MAX_WAITING a worker wait at a time
 * (503 beyond); who has gone waits no more. */
#define HELLO_MAX_DELAY_MS 60000
#define HELLO_MAX_WAITING  10000

int hello_open(struct demo *demo);   /* for demo->workers; 0 or -ENOMEM */
void hello_close(struct demo *demo); /* when no loop runs any more, also after a failed or missing hello_open */
struct http_reply *hello_get(struct http_req *req);
