/* A whole service over HTTP/2: see http2.h. */
#include "http2.h"
#include "notes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct notes *notes;
    static int port;

    if (notes == NULL)
        port = notes_serve(notes = notes_open());
    http2_talk(port, data, size);
    service_check_log(notes->log);
    return 0;
}
