#include "http_framing.h"
#include <string.h>

enum state {
    IDLE, /* between requests */
    IDLE_LF,
    BEGIN, /* after an empty line */
    METHOD,
    TARGET,
    VERSION,
    LINE_LF,
    FIELD, /* the beginning of a header or trailer line */
    NAME,
    VALUE,
    VALUE_LF,
    END_LF, /* of the head or trailer */
    BODY,
    SIZE,
    EXT_SPACE, /* before the ';' of an extension */
    EXT_NAME,
    EXT_EQUALS,
    EXT_VALUE,
    EXT_QUOTED,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    PREFACE,
    HTTP2,
};

enum field {
    OTHER,
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
};

enum { CHUNKED = 1, UNKNOWN = 2 }; /* transfer codings */

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_LEN (sizeof(preface) - 1)

/* ---- classes of characters ---- */

enum {
    TOKEN = 1,
    TEXT = 2,    /* of a value */
    TARGETS = 4, /* of a target: no white space */
    QUOTED = 8,  /* of a quoted string, but for '\' */
    REG_NAME = 16,
    HEX = 32,
};

#define ALPHA  (TOKEN | TEXT | TARGETS | QUOTED | REG_NAME)
#define SYMBOL (TEXT | TARGETS | QUOTED) /* visible, but no token's */

static const uint8_t classes[256] = {
    ['\t'] = TEXT | QUOTED,
    [' '] = TEXT | QUOTED,
    ['!'] = ALPHA,
    ['"'] = TEXT | TARGETS,
    ['#'] = SYMBOL | TOKEN,
    ['$'] = ALPHA,
    ['%'] = SYMBOL | TOKEN,
    ['&'] = ALPHA,
    ['\''] = ALPHA,
    ['('] = SYMBOL | REG_NAME,
    [')'] = SYMBOL | REG_NAME,
    ['*'] = ALPHA,
    ['+'] = ALPHA,
    [','] = SYMBOL | REG_NAME,
    ['-'] = ALPHA,
    ['.'] = ALPHA,
    ['/'] = SYMBOL,
    ['0' ... '9'] = ALPHA | HEX,
    [':'] = SYMBOL,
    [';'] = SYMBOL | REG_NAME,
    ['<'] = SYMBOL,
    ['='] = SYMBOL | REG_NAME,
    ['>'] = SYMBOL,
    ['?'] = SYMBOL,
    ['@'] = SYMBOL,
    ['A' ... 'F'] = ALPHA | HEX,
    ['G' ... 'Z'] = ALPHA,
    ['['] = SYMBOL,
    ['\\'] = TEXT | TARGETS,
    [']'] = SYMBOL,
    ['^'] = SYMBOL | TOKEN,
    ['_'] = ALPHA,
    ['`'] = SYMBOL | TOKEN,
    ['a' ... 'f'] = ALPHA | HEX,
    ['g' ... 'z'] = ALPHA,
    ['{'] = SYMBOL,
    ['|'] = SYMBOL | TOKEN,
    ['}'] = SYMBOL,
    ['~'] = ALPHA,
    [0x80 ... 0xff] = SYMBOL,
};

static inline bool is(char c, unsigned class)
{
    return (classes[(unsigned char)c] & class) != 0;
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static inline char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline unsigned hex_digit(char c)
{
    return is_digit(c) ? (unsigned)(c - '0') : (unsigned)(lower(c) - 'a' + 10);
}

/* The first character of another class. */
static inline const char *skip(const char *p, const char *end, unsigned class)
{
    while (p < end && is(*p, class))
        p++;
    return p;
}

/* Whether one of 8 bytes is below ' ' or DEL. */
static inline bool has_control(const char *p)
{
    const uint64_t ones = UINT64_MAX / 255, high = ones << 7;
    uint64_t word, del;

    memcpy(&word, p, sizeof(word));
    del = word ^ (ones * 0x7f);
    return (((word - ones * ' ') & ~word) | ((del - ones) & ~del)) & high;
}

/* As skip of TEXT: most of a head's bytes are in the values of fields that nobody looks at. */
static const char *skip_text(const char *p, const char *end)
{
    while (end - p >= 8 && !has_control(p))
        p += 8;
    return skip(p, end, TEXT);
}

/* ---- refusing, words ---- */

/* The first reason counts. */
static void refuse(struct http_framing *f, int status, const char *reason)
{
    if (f->status == 0) {
        f->status = status;
        f->reason = reason;
    }
}

static inline void add_to_word(struct http_framing *f, char c)
{
    if (f->word_len < sizeof(f->word))
        f->word[f->word_len++] = lower(c);
}

static inline bool word_is(const struct http_framing *f, const char *text)
{
    size_t len = strlen(text);

    return f->word_len == len && memcmp(f->word, text, len) == 0;
}

/* length = length * base + digit, refused from 2^63 on. */
static void add_digit(struct http_framing *f, unsigned base, unsigned digit)
{
    if (f->length > ((uint64_t)INT64_MAX - digit) / base)
        refuse(f, 400, base == 10 ? "Content-Length is too large" : "the size of a chunk is too large");
    else
        f->length = f->length * base + digit;
}

/* ---- values of fields: each character, then the end ---- */

enum { BEFORE, WITHIN, AFTER, LITERAL, LITERAL_END, PORT }; /* part of a value; the last three of Host */

static void read_length(struct http_framing *f, char c)
{
    if (is_space(c)) {
        f->part = f->part == WITHIN ? AFTER : f->part;
    } else if (is_digit(c) && f->part != AFTER) {
        f->part = WITHIN;
        add_digit(f, 10, (unsigned)(c - '0'));
    } else {
        refuse(f, 400, "Content-Length is not a number");
    }
}

static void end_length(struct http_framing *f)
{
    if (f->part == BEFORE)
        refuse(f, 400, "Content-Length is not a number");
    if (f->has_length && f->length != f->left)
        refuse(f, 400, "two Content-Lengths differ");
    f->has_length = true;
    f->left = f->length;
}

static void end_coding(struct http_framing *f)
{
    if (f->part != WITHIN)
        return;
    if (f->codings & CHUNKED)
        refuse(f, 400, "chunked is not the last transfer coding");
    if (word_is(f, "identity"))
        refuse(f, 400, "identity is no transfer coding");
    f->codings |= word_is(f, "chunked") ? CHUNKED : UNKNOWN;
}

static void read_coding(struct http_framing *f, char c)
{
    if (is_space(c) || c == ',') {
        end_coding(f);
        f->part = c == ',' ? BEFORE : f->part == WITHIN ? AFTER : f->part;
    } else if (is(c, TOKEN) && f->part != AFTER) {
        f->word_len = f->part == BEFORE ? 0 : f->word_len;
        f->part = WITHIN;
        add_to_word(f, c);
    } else {
        refuse(f, 400, "Transfer-Encoding is malformed");
    }
}

static void end_protocol(struct http_framing *f)
{
    f->wants_h2c = f->wants_h2c || (f->part == WITHIN && word_is(f, "h2c"));
    f->part = BEFORE;
}

/* Upgrade: what else it says is ignored, however it is written. */
static void read_protocol(struct http_framing *f, char c)
{
    if (is_space(c) || c == ',') {
        end_protocol(f);
    } else {
        f->word_len = f->part == BEFORE ? 0 : f->word_len;
        f->part = WITHIN;
        add_to_word(f, c);
    }
}

static bool read_reg_name(struct http_framing *f, char c)
{
    if (f->escaped > 0) {
        f->escaped--;
        return is(c, HEX);
    }
    if (c == ':')
        f->part = PORT;
    if (c == '%')
        f->escaped = 2;
    return c == ':' || c == '%' || is(c, REG_NAME);
}

/* An IPv6 address, or the "v1.x" that RFC 3986 keeps for later ones. */
static bool read_literal(struct http_framing *f, char c)
{
    bool first = f->at == 0;

    if (c == ']') {
        f->part = LITERAL_END;
        return !first;
    }
    if (first)
        f->at = lower(c) == 'v' ? 'v' : 1;
    return f->at == 'v' ? is(c, REG_NAME) || c == ':' : is(c, HEX) || c == ':' || c == '.';
}

static bool read_host_part(struct http_framing *f, char c)
{
    switch (f->part) {
    case BEFORE:
        f->part = c == '[' ? LITERAL : WITHIN;
        f->at = f->escaped = 0;
        return c == '[' || (c != ':' && read_reg_name(f, c));
    case WITHIN:
        return read_reg_name(f, c);
    case LITERAL:
        return read_literal(f, c);
    case LITERAL_END:
        f->part = PORT;
        return c == ':';
    case PORT:
        return is_digit(c);
    default:
        return false;
    }
}

static bool is_host_complete(const struct http_framing *f)
{
    return f->part != LITERAL && (f->part != WITHIN || f->escaped == 0);
}

static void read_host(struct http_framing *f, char c)
{
    bool valid = is_space(c) ? is_host_complete(f) : read_host_part(f, c);

    if (is_space(c) && f->part != BEFORE)
        f->part = AFTER;
    if (!valid)
        refuse(f, 400, "Host is malformed");
}

static void end_host(struct http_framing *f)
{
    if (!is_host_complete(f))
        refuse(f, 400, "Host is malformed");
    if (f->has_host)
        refuse(f, 400, "there is more than one Host");
    f->has_host = true;
}

static void read_value(struct http_framing *f, char c)
{
    f->value_len++;
    f->blanks = is_space(c) ? f->blanks + 1 : 0;
    switch (f->field) {
    case HOST:
        read_host(f, c);
        break;
    case CONTENT_LENGTH:
        read_length(f, c);
        break;
    case TRANSFER_ENCODING:
        read_coding(f, c);
        break;
    case UPGRADE:
        read_protocol(f, c);
        break;
    }
}

static void end_value(struct http_framing *f)
{
    switch (f->field) {
    case HOST:
        end_host(f);
        break;
    case CONTENT_LENGTH:
        end_length(f);
        break;
    case TRANSFER_ENCODING:
        end_coding(f);
        f->has_codings = true;
        break;
    case UPGRADE:
        end_protocol(f);
        break;
    }
}

/* ---- lines of the head and of the trailer ---- */

static enum field known_field(const struct http_framing *f)
{
    switch (f->word_len) {
    case sizeof("host") - 1:
        return word_is(f, "host") ? HOST : OTHER;
    case sizeof("expect") - 1:
        return word_is(f, "expect") ? EXPECT : OTHER;
    case sizeof("upgrade") - 1:
        return word_is(f, "upgrade") ? UPGRADE : OTHER;
    case sizeof("content-length") - 1:
        return word_is(f, "content-length") ? CONTENT_LENGTH : OTHER;
    case sizeof("transfer-encoding") - 1:
        return word_is(f, "transfer-encoding") ? TRANSFER_ENCODING : OTHER;
    default:
        return OTHER;
    }
}

/* The fields of a trailer are only checked for their form: h2o drops them. */
static void begin_value(struct http_framing *f)
{
    f->state = VALUE;
    f->field = f->in_body ? OTHER : known_field(f);
    f->part = BEFORE;
    f->value_len = 0;
    f->blanks = 0;
    if (f->field == CONTENT_LENGTH)
        f->length = 0;
}

static bool may_be_known(size_t len)
{
    return len == sizeof("host") - 1 || len == sizeof("expect") - 1 || len == sizeof("upgrade") - 1 ||
           len == sizeof("content-length") - 1 || len == sizeof("transfer-encoding") - 1;
}

/* A name that is there wholly and of another length than those that are known is not copied. */
static const char *on_name(struct http_framing *f, const char *p, const char *end)
{
    const char *after = skip(p, end, TOKEN);

    if (f->word_len > 0 || after == end || may_be_known((size_t)(after - p)))
        for (; p < after; p++)
            add_to_word(f, *p);
    else
        f->word_len = sizeof(f->word);
    if (after == end)
        return after;
    if (*after != ':')
        refuse(f, 400, "the name of a header field is malformed");
    else
        begin_value(f);
    return after + 1;
}

static const char *on_field(struct http_framing *f, const char *p, const char *end)
{
    if (*p == '\r') {
        f->state = END_LF;
        return p + 1;
    }
    if (is_space(*p))
        refuse(f, 400, "a header field is folded over lines");
    if (!is(*p, TOKEN))
        refuse(f, 400, "the name of a header field is malformed");
    if (++f->fields > HTTP_FRAMING_MAX_FIELDS)
        refuse(f, 431, "there are too many header fields");
    f->word_len = 0;
    f->state = NAME;
    return on_name(f, p, end);
}

static const char *on_value(struct http_framing *f, const char *p, const char *end)
{
    if (f->field == OTHER)
        p = skip_text(p, end);
    else
        for (; p < end && is(*p, TEXT); p++)
            read_value(f, *p);
    if (p == end)
        return p;
    if (*p != '\r')
        refuse(f, 400, "a header field has a control character");
    end_value(f);
    f->state = VALUE_LF;
    return p + 1;
}

static void expect_lf(struct http_framing *f, char c, enum state next)
{
    if (c != '\n')
        refuse(f, 400, "a line does not end with CR LF");
    f->state = next;
}

/* ---- from one request to the next ---- */

static void end_request(struct http_framing *f)
{
    *f = (struct http_framing){.state = IDLE, .wants_h2c = f->wants_h2c, .is_begun = true};
}

static void begin_body(struct http_framing *f, enum state state)
{
    f->in_body = true;
    f->fields = 0;
    f->counted = 0;
    f->length = 0;
    f->at = 0;
    f->state = state;
}

static void end_head(struct http_framing *f)
{
    if (!f->has_host && f->minor > 0)
        refuse(f, 400, "there is no Host");
    if (f->has_codings && f->has_length)
        refuse(f, 400, "there are both Content-Length and Transfer-Encoding");
    if (f->has_codings && f->minor == 0)
        refuse(f, 400, "HTTP/1.0 has no Transfer-Encoding");
    if (f->has_codings && !(f->codings & CHUNKED))
        refuse(f, 400, "the last transfer coding is not chunked");
    if (f->codings & UNKNOWN)
        refuse(f, 501, "the transfer coding is not known");
    if (f->status != 0)
        return;
    if (f->codings & CHUNKED)
        begin_body(f, SIZE);
    else if (f->has_length && f->left > 0)
        begin_body(f, BODY);
    else
        end_request(f);
}

static void on_end_lf(struct http_framing *f, char c)
{
    expect_lf(f, c, END_LF);
    if (f->status != 0)
        return;
    if (f->in_body)
        end_request(f);
    else
        end_head(f);
}

/* ---- the request line ---- */

static void begin_request(struct http_framing *f, char c)
{
    f->wants_h2c = false;
    f->is_begun = true;
    f->at = 0;
    f->state = METHOD;
    if (!is(c, TOKEN))
        refuse(f, 400, "the request line is malformed");
}

static void on_idle(struct http_framing *f, char c)
{
    if (c == '\r' && f->state == IDLE) {
        f->state = IDLE_LF;
    } else if (c == preface[0] && f->state == IDLE && (!f->is_begun || f->wants_h2c)) {
        f->at = 1;
        f->state = PREFACE;
    } else {
        begin_request(f, c);
    }
}

static const char *on_method(struct http_framing *f, const char *p, const char *end)
{
    p = skip(p, end, TOKEN);
    if (p == end)
        return p;
    if (*p != ' ')
        refuse(f, 400, "the request line is malformed");
    f->state = TARGET;
    return p + 1;
}

static const char *on_target(struct http_framing *f, const char *p, const char *end)
{
    const char *after = skip(p, end, TARGETS);

    f->at = after > p ? 1 : f->at;
    if (after == end)
        return after;
    if (*after != ' ' || f->at == 0)
        refuse(f, 400, "the request line is malformed");
    f->at = 0;
    f->state = VERSION;
    return after + 1;
}

static void on_version_char(struct http_framing *f, char c)
{
    static const char form[] = "HTTP/#.#\r";
    char wanted = form[f->at];

    if (wanted == '#' ? !is_digit(c) : c != wanted)
        refuse(f, 400, "the request line is malformed");
    if (f->at == 5)
        f->major = (uint8_t)(c - '0');
    if (f->at == 7)
        f->minor = (uint8_t)(c - '0');
    if (c == '\r' && f->major != 1)
        refuse(f, 505, "the version of HTTP is not supported");
    if (c == '\r')
        f->state = LINE_LF;
    f->at++;
}

static const char *on_version(struct http_framing *f, const char *p, const char *end)
{
    static const char usual[] = "HTTP/1.1\r\n";
    const size_t len = sizeof(usual) - 1;

    if (f->at > 0 || (size_t)(end - p) < len || memcmp(p, usual, len) != 0) {
        on_version_char(f, *p);
        return p + 1;
    }
    f->major = f->minor = 1;
    f->state = FIELD;
    return p + len;
}

static const char *step(struct http_framing *f, const char *p, const char *end);

/* What began as the preface and is not: a request of a method that begins like it. */
static const char *on_preface(struct http_framing *f, const char *p, const char *end)
{
    const char *seen = preface, *seen_end = preface + f->at;

    if (*p == preface[f->at]) {
        f->at++;
        f->state = f->at == PREFACE_LEN ? HTTP2 : PREFACE;
        return p + 1;
    }
    begin_request(f, *seen++);
    while (seen < seen_end && f->status == 0)
        seen = step(f, seen, seen_end);
    return p;
}

/* ---- bodies ---- */

static const char *on_bytes(struct http_framing *f, const char *p, const char *end)
{
    size_t len = (size_t)(end - p);

    if (f->left > len) {
        f->left -= len;
        return end;
    }
    p += f->left;
    f->left = 0;
    if (f->state == BODY)
        end_request(f);
    else
        f->state = DATA_CR;
    return p;
}

static void end_size(struct http_framing *f, char c)
{
    if (f->at == 0 || (c != '\r' && c != ';' && !is_space(c)))
        refuse(f, 400, "the size of a chunk is malformed");
    f->left = f->length;
    f->word_len = 0;
    f->state = c == '\r' ? SIZE_LF : c == ';' ? EXT_NAME : EXT_SPACE;
    f->part = BEFORE;
}

static const char *on_size(struct http_framing *f, const char *p, const char *end)
{
    for (; p < end && is(*p, HEX) && f->at < 16; p++, f->at++)
        add_digit(f, 16, hex_digit(*p));
    if (p == end)
        return p;
    end_size(f, *p);
    return p + 1;
}

/* Between the parts of an extension, and at its end. A part may have white space around, the line not. */
static void on_separator(struct http_framing *f, char c)
{
    if (is_space(c))
        f->state = f->state == EXT_NAME ? EXT_EQUALS : f->state == EXT_VALUE ? EXT_SPACE : f->state;
    else if (c == ';')
        f->state = EXT_NAME;
    else if (c == '=' && (f->state == EXT_NAME || f->state == EXT_EQUALS))
        f->state = EXT_VALUE;
    else if (c == '\r' && f->state != EXT_SPACE && f->state != EXT_EQUALS)
        f->state = SIZE_LF;
    else
        refuse(f, 400, "the extension of a chunk is malformed");
    f->part = BEFORE;
}

/* A name or value: white space, then a token, or a quoted string in the place of a value. */
static void on_extension(struct http_framing *f, char c)
{
    if (is_space(c) && f->part == BEFORE)
        return;
    if (c == '"' && f->state == EXT_VALUE && f->part == BEFORE) {
        f->state = EXT_QUOTED;
        f->escaped = 0;
    } else if (is(c, TOKEN) && f->part != AFTER) {
        f->part = WITHIN;
    } else if (f->part == BEFORE) {
        refuse(f, 400, "the extension of a chunk is malformed");
    } else {
        on_separator(f, c);
    }
}

static void on_quoted(struct http_framing *f, char c)
{
    if (!is(c, TEXT))
        refuse(f, 400, "the extension of a chunk is malformed");
    if (f->escaped > 0) {
        f->escaped = 0;
    } else if (c == '\\') {
        f->escaped = 1;
    } else if (c == '"') {
        f->state = EXT_VALUE;
        f->part = AFTER;
    }
}

static void on_data_cr(struct http_framing *f, char c)
{
    if (c != '\r')
        refuse(f, 400, "a chunk is longer than its size");
    f->state = DATA_LF;
}

static void on_size_lf(struct http_framing *f, char c)
{
    expect_lf(f, c, f->left > 0 ? DATA : FIELD);
}

static void on_data_lf(struct http_framing *f, char c)
{
    expect_lf(f, c, SIZE);
    f->length = 0;
    f->at = 0;
}

/* ---- all of it ---- */

static void on_char(struct http_framing *f, char c)
{
    switch ((enum state)f->state) {
    case IDLE:
    case BEGIN:
        on_idle(f, c);
        break;
    case IDLE_LF:
        expect_lf(f, c, BEGIN);
        break;
    case LINE_LF:
    case VALUE_LF:
        expect_lf(f, c, FIELD);
        break;
    case END_LF:
        on_end_lf(f, c);
        break;
    case EXT_SPACE:
    case EXT_EQUALS:
        on_separator(f, c);
        break;
    case EXT_NAME:
    case EXT_VALUE:
        on_extension(f, c);
        break;
    case EXT_QUOTED:
        on_quoted(f, c);
        break;
    case SIZE_LF:
        on_size_lf(f, c);
        break;
    case DATA_CR:
        on_data_cr(f, c);
        break;
    case DATA_LF:
        on_data_lf(f, c);
        break;
    default:
        break;
    }
}

/* Takes at least one byte, but for a preface that is none. */
static const char *step(struct http_framing *f, const char *p, const char *end)
{
    switch ((enum state)f->state) {
    case METHOD:
        return on_method(f, p, end);
    case TARGET:
        return on_target(f, p, end);
    case VERSION:
        return on_version(f, p, end);
    case FIELD:
        return on_field(f, p, end);
    case NAME:
        return on_name(f, p, end);
    case VALUE:
        return on_value(f, p, end);
    case BODY:
    case DATA:
        return on_bytes(f, p, end);
    case SIZE:
        return on_size(f, p, end);
    case PREFACE:
        return on_preface(f, p, end);
    case HTTP2:
        return end;
    default:
        on_char(f, *p);
        return p + 1;
    }
}

/* The parts of a head, of a trailer, and of the extensions of a chunk. */
static bool is_counted(enum state state)
{
    return state <= END_LF || (state >= EXT_SPACE && state <= EXT_QUOTED);
}

static void count(struct http_framing *f, size_t len)
{
    if (f->state == IDLE)
        return;
    f->counted += len < HTTP_FRAMING_MAX_HEAD ? (uint32_t)len : HTTP_FRAMING_MAX_HEAD;
    if (!f->in_body && f->counted >= HTTP_FRAMING_MAX_HEAD) /* and it has not ended */
        refuse(f, 431, "the header fields are too long");
    if (f->in_body && f->counted > HTTP_FRAMING_MAX_EXTRA)
        refuse(f, 400, "the extensions or the trailer of a body are too long");
}

/* end: of a value, where its CR is. */
static void move_blanks(struct http_framing *f, char *bytes, char *end)
{
    size_t len = f->value_len, blanks = f->blanks;

    f->blanks = 0;
    if (blanks == len || (size_t)(end - bytes) < len)
        return;
    memmove(end - len + blanks, end - len, len - blanks);
    memset(end - len, ' ', blanks);
}

size_t http_framing_check(struct http_framing *f, char *bytes, size_t seen, size_t len)
{
    const char *p = bytes + seen, *end = bytes + len;
    size_t well_formed = seen;

    while (p < end && f->status == 0) {
        const char *from = p;
        bool counted = is_counted(f->state);

        p = step(f, p, end);
        if (counted)
            count(f, (size_t)(p - from));
        if (f->state == VALUE_LF && f->blanks > 0)
            move_blanks(f, bytes, bytes + (p - bytes) - 1);
        if (f->state == IDLE)
            well_formed = (size_t)(p - bytes);
    }
    return f->status == 0 ? len : well_formed;
}

bool http_framing_is_http2(const struct http_framing *f)
{
    return f->state == HTTP2;
}

bool http_framing_is_idle(const struct http_framing *f)
{
    return f->state == IDLE && f->status == 0;
}
