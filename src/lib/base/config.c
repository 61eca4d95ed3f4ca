#include "config.h"
#include "buf.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct value {
    const struct config_option *option; /* of the first table that has the name: its kind, limits and help */
    const char *fallback;               /* of the last */
    char *text;
    int64_t integer; /* also of CONFIG_BOOL: 0 or 1 */
};

struct config {
    size_t count;
    struct value values[];
};

static struct value *find(struct config *config, const char *name)
{
    for (size_t i = 0; i < config->count; i++)
        if (strcmp(config->values[i].option->name, name) == 0)
            return &config->values[i];
    return NULL;
}

static struct config *merge(const struct config_option *const tables[], size_t table_count)
{
    size_t count = 0;
    struct config *config;

    for (size_t i = 0; i < table_count; i++)
        for (const struct config_option *option = tables[i]; option != NULL && option->name != NULL; option++)
            count++;
    config = calloc(1, sizeof(*config) + count * sizeof(config->values[0]));
    if (config == NULL)
        return NULL;
    for (size_t i = 0; i < table_count; i++)
        for (const struct config_option *option = tables[i]; option != NULL && option->name != NULL; option++) {
            struct value *value = find(config, option->name);
            if (value == NULL) {
                value = &config->values[config->count++];
                value->option = option;
            }
            value->fallback = option->value;
        }
    return config;
}

/* ---- what is allowed ---- */

static void append_number(struct buf *out, enum config_kind kind, int64_t number)
{
    static const char *const suffixes[] = {"", "Ki", "Mi", "Gi", "Ti"};
    size_t suffix = 0;

    while (kind == CONFIG_BYTES && suffix < 4 && number != 0 && number % 1024 == 0) {
        number /= 1024;
        suffix++;
    }
    buf_printf(out, "%lld%s", (long long)number, suffixes[suffix]);
}

static void append_range(struct buf *out, const struct config_option *option)
{
    const char *unit = option->unit != NULL ? option->unit : option->kind == CONFIG_BYTES ? "bytes" : NULL;

    if (option->min == 0 && option->max == 0) {
        buf_append_cstr(out, "0 or more");
    } else {
        append_number(out, option->kind, option->min);
        buf_append_cstr(out, " to ");
        append_number(out, option->kind, option->max);
    }
    if (unit != NULL)
        buf_printf(out, " %s", unit);
}

static void append_choices(struct buf *out, const char *choices)
{
    buf_append_cstr(out, "one of ");
    for (const char *c = choices; *c != '\0'; c++)
        if (*c == '|')
            buf_append_cstr(out, ", ");
        else
            buf_append_char(out, *c);
}

static void append_allowed(struct buf *out, const struct config_option *option)
{
    switch (option->kind) {
    case CONFIG_STRING:
        if (option->max != 0)
            buf_printf(out, "%lld to %lld characters", (long long)option->min, (long long)option->max);
        break;
    case CONFIG_INT:
    case CONFIG_BYTES:
        append_range(out, option);
        break;
    case CONFIG_BOOL:
        buf_append_cstr(out, "true or false");
        break;
    case CONFIG_CHOICE:
        append_choices(out, option->choices);
        break;
    }
}

/* ---- one value ---- */

static int parse_int(struct str text, int64_t unit, const struct config_option *option, int64_t *ret_integer)
{
    bool negative = text.len > 0 && text.s[0] == '-', any = option->min == 0 && option->max == 0;
    uint64_t magnitude;
    int64_t integer;

    if (str_to_u64(negative ? (struct str){text.s + 1, text.len - 1} : text, INT64_MAX, &magnitude) != 0 ||
        magnitude > (uint64_t)(INT64_MAX / unit))
        return -EINVAL;
    integer = (int64_t)magnitude * unit;
    integer = negative ? -integer : integer;
    if (integer < option->min || (!any && integer > option->max))
        return -EINVAL;
    *ret_integer = integer;
    return 0;
}

static int parse_bytes(struct str text, const struct config_option *option, int64_t *ret_integer)
{
    static const char prefixes[] = "KMGT";
    int64_t unit = 1;

    if (text.len >= 2 && text.s[text.len - 1] == 'i') {
        const char *prefix = memchr(prefixes, text.s[text.len - 2], 4);
        if (prefix == NULL)
            return -EINVAL;
        unit = INT64_C(1) << (10 * (prefix - prefixes + 1));
        text.len -= 2;
    }
    return parse_int(text, unit, option, ret_integer);
}

static int parse_bool(struct str text, int64_t *ret_integer)
{
    bool yes = str_eq(text, STR("true")) || str_eq(text, STR("1"));

    if (!yes && !str_eq(text, STR("false")) && !str_eq(text, STR("0")))
        return -EINVAL;
    *ret_integer = yes;
    return 0;
}

static int parse_choice(struct str text, const char *choices)
{
    for (const char *c = choices; c != NULL;) {
        const char *end = strchr(c, '|');
        if (str_eq(text, (struct str){c, end != NULL ? (size_t)(end - c) : strlen(c)}))
            return 0;
        c = end != NULL ? end + 1 : NULL;
    }
    return -EINVAL;
}

static int parse(struct str text, const struct config_option *option, int64_t *ret_integer)
{
    switch (option->kind) {
    case CONFIG_STRING:
        return option->max != 0 && ((int64_t)text.len < option->min || (int64_t)text.len > option->max) ? -EINVAL : 0;
    case CONFIG_INT:
        return parse_int(text, 1, option, ret_integer);
    case CONFIG_BYTES:
        return parse_bytes(text, option, ret_integer);
    case CONFIG_BOOL:
        return parse_bool(text, ret_integer);
    case CONFIG_CHOICE:
        return parse_choice(text, option->choices);
    }
    return -EINVAL;
}

/* ---- errors ---- */

struct error {
    char *text;
    size_t size;
};

/* Takes what. -EINVAL with what as the line, without whatever would make it more than one. */
static int refuse(const struct error *error, struct buf *take_what)
{
    size_t len = take_what->len < error->size ? take_what->len : error->size - 1;
    int r = buf_error(take_what);

    for (size_t i = 0; i < len; i++)
        error->text[i] = iscntrl((unsigned char)take_what->data[i]) ? '?' : take_what->data[i];
    error->text[len] = '\0';
    buf_release(take_what);
    return r != 0 ? r : -EINVAL;
}

/* why is what the option's own check says; NULL: the value is not what its kind allows. */
static int refuse_value(const struct error *error, const struct config_option *option, const char *text,
                        const char *why)
{
    struct buf line = {0};

    buf_printf(&line, option->secret ? "%s: " : "%s=%.100s: ", option->name, text);
    if (why != NULL) {
        buf_append_cstr(&line, why);
    } else {
        buf_append_cstr(&line, "must be ");
        append_allowed(&line, option);
    }
    return refuse(error, &line);
}

static int refuse_argument(const struct error *error, const char *argument, const char *why)
{
    struct buf line = {0};

    buf_printf(&line, "%.100s: %s", argument, why);
    return refuse(error, &line);
}

/* ---- loading ---- */

static int set(struct value *value, const char *text, const struct error *error)
{
    const char *why = NULL;
    char *copy;

    if (parse(str_of(text), value->option, &value->integer) != 0 ||
        (value->option->check != NULL && (why = value->option->check(text)) != NULL))
        return refuse_value(error, value->option, text, why);
    copy = strdup(text);
    if (copy == NULL)
        return -ENOMEM;
    free(value->text);
    value->text = copy;
    return 0;
}

static int load_environment(struct config *config, const struct error *error)
{
    for (size_t i = 0; i < config->count; i++) {
        const char *text = getenv(config->values[i].option->name);
        int r = text != NULL && text[0] != '\0' ? set(&config->values[i], text, error) : 0;
        if (r != 0)
            return r;
    }
    return 0;
}

/* "PORT" and "port" alike: c as it stands in a flag. */
static char flag_char(char c)
{
    return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

static struct value *find_flag(struct config *config, struct str flag)
{
    for (size_t i = 0; i < config->count; i++) {
        const char *name = config->values[i].option->name;
        size_t at = 0;
        while (at < flag.len && name[at] != '\0' && flag_char(name[at]) == flag.s[at])
            at++;
        if (at == flag.len && name[at] == '\0')
            return &config->values[i];
    }
    return NULL;
}

static int load_flags(struct config *config, int argc, char **argv, const struct error *error)
{
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i], *equals = strchr(argument, '='), *text;
        struct value *value;
        int r;

        if (strncmp(argument, "--", 2) != 0)
            return refuse_argument(error, argument, "unexpected argument");
        argument += 2;
        value =
            find_flag(config, equals != NULL ? (struct str){argument, (size_t)(equals - argument)} : str_of(argument));
        if (value == NULL)
            return refuse_argument(error, argv[i], "no such option");
        if (equals != NULL)
            text = equals + 1;
        else if (value->option->kind == CONFIG_BOOL)
            text = "true";
        else if (i + 1 < argc)
            text = argv[++i];
        else
            return refuse_argument(error, argv[i], "needs a value");
        r = set(value, text, error);
        if (r != 0)
            return r;
    }
    return 0;
}

/* A default that its own limits refuse is a bug. An empty one means "none" and is never checked. */
static int set_default(struct value *value)
{
    int r = value->fallback[0] == '\0' ? 0 : parse(str_of(value->fallback), value->option, &value->integer);

    assert(r == 0);
    value->text = strdup(value->fallback);
    return value->text != NULL ? 0 : -ENOMEM;
}

static int load_defaults(struct config *config, const struct error *error)
{
    for (size_t i = 0; i < config->count; i++) {
        struct value *value = &config->values[i];
        bool required = value->fallback == CONFIG_REQUIRED;
        int r = 0;

        if (required && (value->text == NULL || value->text[0] == '\0'))
            return refuse_argument(error, value->option->name, "must be set");
        if (value->text == NULL)
            r = set_default(value);
        if (r != 0)
            return r;
    }
    return 0;
}

int config_load(const struct config_option *const tables[], size_t table_count, int argc, char **argv,
                struct config **ret_config, char *error, size_t error_size)
{
    const struct error where = {error, error_size};
    struct config *config = merge(tables, table_count);
    int r = -ENOMEM;

    if (config != NULL)
        r = load_environment(config, &where);
    if (r == 0)
        r = load_flags(config, argc, argv, &where);
    if (r == 0)
        r = load_defaults(config, &where);
    if (r == 0)
        *ret_config = config;
    else
        config_free(config);
    return r;
}

struct config *config_free(struct config *config)
{
    for (size_t i = 0; config != NULL && i < config->count; i++)
        free(config->values[i].text);
    free(config);
    return NULL;
}

/* ---- values ---- */

static const struct value *get(const struct config *config, const char *name)
{
    const struct value *value = find((struct config *)config, name);

    assert(value != NULL);
    return value;
}

const char *config_string(const struct config *config, const char *name)
{
    const struct value *value = get(config, name);

    assert(value->option->kind == CONFIG_STRING || value->option->kind == CONFIG_CHOICE);
    return value->text;
}

int64_t config_int(const struct config *config, const char *name)
{
    const struct value *value = get(config, name);

    assert(value->option->kind == CONFIG_INT || value->option->kind == CONFIG_BYTES);
    return value->integer;
}

bool config_bool(const struct config *config, const char *name)
{
    const struct value *value = get(config, name);

    assert(value->option->kind == CONFIG_BOOL);
    return value->integer != 0;
}

void config_describe(const struct config *config, struct buf *out)
{
    for (size_t i = 0; i < config->count; i++) {
        const struct value *value = &config->values[i];

        buf_append_char(out, i == 0 ? '{' : ',');
        buf_append_json_string(out, str_of(value->option->name));
        buf_append_char(out, ':');
        buf_append_json_string(out, str_of(value->option->secret && value->text[0] != '\0' ? "(hidden)" : value->text));
    }
    buf_append_cstr(out, config->count == 0 ? "{}" : "}");
}

/* ---- help ---- */

static const char *shown_default(const struct value *value)
{
    if (value->fallback == CONFIG_REQUIRED)
        return "required";
    return value->fallback[0] == '\0' ? "none" : value->fallback;
}

static size_t longer(size_t width, const char *text)
{
    size_t len = strlen(text);

    return len > width ? len : width;
}

static void append_option(struct buf *out, const struct value *value, int name_width, int default_width)
{
    const struct config_option *option = value->option;

    buf_append_cstr(out, "  --");
    for (int i = 0; i < name_width; i++)
        buf_append_char(out, i < (int)strlen(option->name) ? flag_char(option->name[i]) : ' ');
    buf_printf(out, "  %-*s  %-*s  ", name_width, option->name, default_width, shown_default(value));
    append_allowed(out, option);
    while (out->len > 0 && out->data[out->len - 1] == ' ')
        out->len--;
    buf_append_char(out, '\n');
    if (option->help != NULL)
        buf_printf(out, "      %s\n", option->help);
}

char *config_help(const struct config_option *const tables[], size_t table_count)
{
    struct config *config = merge(tables, table_count);
    struct buf out = {0};
    size_t name_width = 0, default_width = strlen("default");

    if (config == NULL)
        return NULL;
    for (size_t i = 0; i < config->count; i++) {
        name_width = longer(name_width, config->values[i].option->name);
        default_width = longer(default_width, shown_default(&config->values[i]));
    }
    buf_printf(&out, "  %-*s  %-*s  %-*s  %s\n", (int)name_width + 2, "flag", (int)name_width, "environment",
               (int)default_width, "default", "allowed");
    for (size_t i = 0; i < config->count; i++)
        append_option(&out, &config->values[i], (int)name_width, (int)default_width);
    buf_append_char(&out, '\0');
    if (out.failed)
        buf_release(&out);
    config_free(config);
    return out.data;
}
