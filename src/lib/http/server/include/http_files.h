/* http_files -- files that are a part of the program: web pages, scripts, styles.
 *
 * The build embeds every file of src/X/www as the table X_www of X_www.h (scripts/embed), with its media type, its
 * entity tag (a hash of its bytes) and, where that is smaller, its bytes compressed by gzip. Nothing is read at run
 * time.
 *
 *     static struct http_reply *page(struct http_req *req)       (for the routes "/" and "/assets/{name}")
 *     {
 *         return http_files_reply(req, &console_www, req->params[0].len > 0 ? req->params[0] : STR("index.html"),
 *                                 "no-cache");
 *     }
 *
 * Replies are as RFC 9110 says: If-Match, If-None-Match (304), Range with If-Range (206, 416), HEAD, Accept-Encoding
 * with Vary. Several ranges at once are answered with all of the file. The tag of the compressed file ends in -gzip.
 * Ranges are those of what is sent, which may be the compressed file: clients that ask for a range without
 * Accept-Encoding get the file's own bytes. Loop's thread.
 */
#pragma once
#include "http.h"

struct http_file {
    const char *name;         /* "index.html", "js/map.js" */
    const char *content_type; /* as it is sent */
    const char *tag;          /* without quotes */
    struct str bytes, gzip;   /* gzip: STR_NULL where it is not smaller */
};

struct http_files {
    const struct http_file *files; /* sorted by name */
    size_t count;
};

const struct http_file *http_files_find(const struct http_files *files, struct str name); /* NULL: there is none */
/* cache_control is static: "no-cache", so that clients ask each time and mostly get 304; or, for names that change with
 * their contents, "public, max-age=31536000, immutable". Headers can be added to the reply. */
struct http_reply *http_file_reply(const struct http_req *req, const struct http_file *file, const char *cache_control);
/* The same of a name; 404 where there is none. */
struct http_reply *http_files_reply(const struct http_req *req, const struct http_files *files, struct str name,
                                    const char *cache_control);
