/* http_record -- GET, PUT, DELETE and a list of records (record.h) as JSON. Handlers return what these functions
 * return.
 *
 * key is checked by the records' limits: 400. ETag, Age and failures of the store as http_store.h says.
 */
#pragma once
#include "http_store.h"
#include "names.h"
#include "record.h"

/* 200 and the record's fields, or 404. */
struct http_reply *http_record_get(struct http_req *req, struct store *store, const struct records *records,
                                   struct str key);
/* Makes or replaces the record from the JSON of the request (http_json_read): 204. */
struct http_reply *http_record_put(struct http_req *req, struct store *store, const struct records *records,
                                   struct str key);
/* 204, also where there was none. */
struct http_reply *http_record_delete(struct http_req *req, struct store *store, const struct records *records,
                                      struct str key);
/* 200 and {"records":[{KEY'S NAME:"...",fields...}],"next":"..."}, in memcmp order of the keys. Query parameters: limit
 * (1 to 100, 20 by default) and after, a key: the page begins behind it. next is the value of after for the next page,
 * null at the end. A page ends early at 1 MiB. */
struct http_reply *http_record_list(struct http_req *req, struct store *store, const struct records *records);
