/* user_name -- a user's name, made up from the id. Pure; any thread. */
#pragma once
#include "buf.h"

#define USER_NAME_SIZE 64

/* "Ada Okafor", terminated; returns name. */
const char *user_name(struct str id, char name[USER_NAME_SIZE]);
