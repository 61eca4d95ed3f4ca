/* user_country -- the country a user comes from, made up from the id. Pure; any thread. */
#pragma once
#include "buf.h"

/* The English short name of a country of ISO 3166-1, UTF-8; static memory. */
const char *user_country(struct str id);
