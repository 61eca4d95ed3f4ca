/* What greeting takes, and what it refuses. */
#include "greeting.h"
#include <assert.h>

int main(void)
{
    char text[GREETING_SIZE], name[GREETED_MAX + 1];

    assert(greeting(STR("Ada"), text) && strcmp(text, "Hello, Ada!") == 0);
    memset(name, 'x', sizeof(name));
    assert(greeting((struct str){name, GREETED_MAX}, text) && strlen(text) == GREETING_SIZE - 1);
    assert(!greeting((struct str){name, GREETED_MAX + 1}, text));
    assert(!greeting(STR(""), text));
    assert(!greeting(STR("\xff"), text));
    return 0;
}
